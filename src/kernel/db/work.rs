//! Waiting for what the database says.

use crate::kernel::{
    access::Class,
    error::{DEADLINE_EXCEEDED, Outcome, Problem, Result},
    gate::{Late, Work},
};

/// What a thread answers, within the time that calls of this class have: a server that hangs keeps none, whatever it was told.
pub(super) async fn answer<T>(work: Work<Result<T>>, class: Class, read_only: bool) -> Result<T> {
    let time = (class != Class::Job).then(|| class.time());
    match work.within(time).await {
        Ok(answer) => answer,
        Err(late) => Err(Problem::from(DEADLINE_EXCEEDED)
            .outcome(outcome(late, read_only))
            .into()),
    }
}

/// What is under way may still be committed.
fn outcome(late: Late, read_only: bool) -> Outcome {
    match (late, read_only) {
        (Late::UnderWay, false) => Outcome::Unknown,
        (Late::NotBegun, _) | (Late::UnderWay, true) => Outcome::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_that_was_begun_may_still_come() {
        let cases = [(Late::NotBegun, false), (Late::NotBegun, true), (Late::UnderWay, true)];
        for (late, read_only) in cases {
            assert_eq!(outcome(late, read_only), Outcome::None, "{late:?} {read_only}");
        }
        assert_eq!(outcome(Late::UnderWay, false), Outcome::Unknown);
    }
}
