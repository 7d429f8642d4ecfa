//! Which limit of a licence a machine would be too much for.

use crate::features::{machines::queries::Share, policies::Rules};

/// A limit, and how it stands.
#[derive(Debug, PartialEq)]
pub(super) struct Short {
    /// Its name, as in a verdict.
    pub(super) limit: &'static str,
    /// What is taken.
    pub(super) used: i64,
    /// What the terms say.
    pub(super) max: Option<i32>,
    what: &'static str,
    wanted: i64,
    most: Option<i32>,
}

impl Short {
    /// The first limit that is too small for what is wanted beside what is used. Where one was when it was refused, and none is any more, the
    /// machines'.
    pub(super) fn of(rules: &Rules, used: Share, wanted: Share) -> Short {
        let limit = |limit, what, used, wanted, max| Short {
            limit,
            used,
            max,
            what,
            wanted,
            most: rules.overage_strategy.most(max),
        };
        let machines = |used, wanted| limit("machines", "machines", used, wanted, rules.max_machines);
        let (taken, more) = (i64::from(used.machines), i64::from(wanted.machines));
        // A new machine is let in where nothing is over its limit, one that is known where nothing that grows is.
        let is_new = more > 0;
        [
            machines(taken, more),
            limit("cores", "cores", used.cores, wanted.cores, rules.max_cores),
            limit(
                "memory_mb",
                "MiB of memory",
                used.memory_mb,
                wanted.memory_mb,
                rules.max_memory_mb,
            ),
            limit(
                "disk_mb",
                "MiB of disk",
                used.disk_mb,
                wanted.disk_mb,
                rules.max_disk_mb,
            ),
        ]
        .into_iter()
        .find(|limit| limit.is_short(is_new))
        .unwrap_or_else(|| machines(taken, more))
    }

    fn is_short(&self, is_new: bool) -> bool {
        let over = |most: i32| self.used + self.wanted > i64::from(most);
        (is_new || self.wanted > 0) && self.most.is_some_and(over)
    }

    /// The sentence about it.
    pub(super) fn detail(&self) -> String {
        let Short { used, what, wanted, .. } = self;
        let (Some(max), Some(most)) = (self.max, self.most) else {
            return format!("{used} {what} are in use.");
        };
        let mut text = format!("{used} of {max} {what} are in use");
        if self.limit != "machines" && *wanted > 0 {
            text += &format!("; {wanted} more would be needed");
        }
        if most > max {
            text += &format!("; the overage ends at {most}");
        }
        text + "."
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::policies::Overage;

    #[test]
    fn the_limit_that_is_too_small_is_named_with_what_is_missing() {
        let rules = Rules {
            max_machines: Some(4),
            max_cores: Some(4),
            max_disk_mb: Some(100),
            ..Rules::default()
        };
        let share = |machines, cores, disk_mb| Share {
            machines,
            cores,
            memory_mb: 9_000,
            disk_mb,
        };
        let detail = |rules: &Rules, used, wanted| {
            let short = Short::of(rules, used, wanted);
            format!("{} {}/{:?}: {}", short.limit, short.used, short.max, short.detail())
        };
        assert_eq!(
            detail(&rules, share(4, 4, 0), share(1, 1, 0)),
            "machines 4/Some(4): 4 of 4 machines are in use."
        );
        assert_eq!(
            detail(&rules, share(1, 3, 0), share(1, 2, 0)),
            "cores 3/Some(4): 3 of 4 cores are in use; 2 more would be needed."
        );
        assert_eq!(
            detail(&rules, share(9, 9, 60), share(0, 0, 41)),
            "disk_mb 60/Some(100): 60 of 100 MiB of disk are in use; 41 more would be needed.",
            "what grows alone is asked"
        );
        assert_eq!(
            detail(&rules, share(1, 5, 0), share(1, 0, 0)),
            "cores 5/Some(4): 5 of 4 cores are in use.",
            "a limit that was lowered lets nobody in"
        );
        let wide = Rules {
            overage_strategy: Overage::Allow125,
            ..rules.clone()
        };
        assert_eq!(
            detail(&wide, share(5, 0, 0), share(1, 0, 0)),
            "machines 5/Some(4): 5 of 4 machines are in use; the overage ends at 5."
        );
        assert_eq!(
            detail(&rules, share(0, 0, 0), share(1, 0, 0)),
            "machines 0/Some(4): 0 of 4 machines are in use.",
            "what was short is there again"
        );
    }
}
