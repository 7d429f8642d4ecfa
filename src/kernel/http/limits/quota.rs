//! How much of what, and whose.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use uuid::Uuid;

use crate::kernel::{
    crypto,
    id::{LicenseId, UserId, WorkspaceId},
};

/// So many in a window, sustained, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Tokens that come back in a window.
    pub count: u32,
    /// The window.
    pub window: Duration,
    /// Tokens of a full bucket.
    pub burst: u32,
}

impl Quota {
    /// So many a minute; all of them may come at once.
    pub const fn per_minute(count: u32) -> Quota {
        Quota::every(count, Duration::from_secs(60))
    }

    /// So many a second; all of them may come at once.
    pub const fn per_second(count: u32) -> Quota {
        Quota::every(count, Duration::from_secs(1))
    }

    /// So many an hour; all of them may come at once.
    pub const fn per_hour(count: u32) -> Quota {
        Quota::every(count, Duration::from_secs(3_600))
    }

    /// So many in a window; all of them may come at once. None is counted as one: what may not be asked at all is not a rate.
    pub const fn every(count: u32, window: Duration) -> Quota {
        let count = if count == 0 { 1 } else { count };
        Quota {
            count,
            window,
            burst: count,
        }
    }

    /// At most so many at once.
    pub const fn burst(self, burst: u32) -> Quota {
        Quota {
            burst: if burst == 0 { 1 } else { burst },
            ..self
        }
    }

    /// The same, wider.
    pub const fn times(self, factor: u32) -> Quota {
        Quota {
            count: self.count.saturating_mul(factor),
            window: self.window,
            burst: self.burst.saturating_mul(factor),
        }
    }

    /// Microseconds until a token comes back.
    pub(super) fn interval(&self) -> f64 {
        self.window.as_secs_f64() * 1e6 / f64::from(self.count)
    }

    /// What a process takes at once: a tenth of a second's worth, so that little is lost when it is not used, and never more than a quarter
    /// of a full bucket. One means that every request asks: so small a limit is judged one by one.
    pub(super) fn batch(&self) -> u32 {
        let a_second = f64::from(self.count) / self.window.as_secs_f64();
        ((a_second / 10.0) as u32).min(self.burst / 4).max(1)
    }
}

/// What a request wants of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which bucket: its name in headers, refusals and metrics.
    pub bucket: &'static str,
    /// Whose, within the home: none if the home has one such bucket only.
    pub key: Option<Uuid>,
    /// How much it holds.
    pub quota: Quota,
    /// Tokens. More than the burst needs a full bucket and leaves a debt (in Redis), or takes all (in the process).
    pub cost: u32,
}

impl Ask {
    /// One token of the home's own bucket of that name.
    pub fn new(bucket: &'static str, quota: Quota) -> Ask {
        Ask {
            bucket,
            key: None,
            quota,
            cost: 1,
        }
    }

    /// The bucket of one of several in the home.
    pub fn of(self, key: Uuid) -> Ask {
        Ask { key: Some(key), ..self }
    }

    /// The bucket of an address within the home. All that are not known share one.
    pub fn from(self, address: Option<IpAddr>) -> Ask {
        let bits = match address.map(network) {
            Some(IpAddr::V4(address)) => u128::from(address.to_bits()),
            Some(IpAddr::V6(address)) => address.to_bits(),
            None => 0,
        };
        self.of(Uuid::from_u128(bits))
    }
}

/// What the buckets of one call have in common: they live on one Redis node, because a call is judged there at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Home(Whose);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Workspace(Uuid),
    Person(Uuid),
    License(Uuid),
    Address(Option<IpAddr>),
    /// The beginning of the SHA-256 of its name.
    Host(u128),
}

impl Home {
    /// Buckets of a workspace.
    pub fn workspace(id: WorkspaceId) -> Home {
        Home(Whose::Workspace(id.uuid()))
    }

    /// Buckets of a person, whatever the workspace.
    pub fn person(id: UserId) -> Home {
        Home(Whose::Person(id.uuid()))
    }

    /// Buckets of a licence, whatever else its vendor's workspace has.
    pub fn license(id: LicenseId) -> Home {
        Home(Whose::License(id.uuid()))
    }

    /// Buckets of an address: of its /64 for version 6, where one household has that many.
    pub fn address(address: Option<IpAddr>) -> Home {
        Home(Whose::Address(address.map(network)))
    }

    /// Buckets of a host that is called.
    pub fn host(name: &str) -> Home {
        let digest = crypto::sha256(name.as_bytes());
        let bytes: [u8; 16] = digest[..16].try_into().expect("of 32 bytes");
        Home(Whose::Host(u128::from_be_bytes(bytes)))
    }

    /// Where the bucket lives.
    pub(super) fn key(&self, ask: &Ask) -> Key {
        Key {
            home: *self,
            bucket: ask.bucket,
            key: ask.key,
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Whose::Workspace(id) => write!(f, "ws:{{{id}}}"),
            Whose::Person(id) => write!(f, "usr:{{{id}}}"),
            Whose::License(id) => write!(f, "lic:{{{id}}}"),
            Whose::Address(Some(address)) => write!(f, "ip:{{{address}}}"),
            Whose::Host(name) => write!(f, "host:{{{name:032x}}}"),
            Whose::Address(None) => f.write_str("ip:{unknown}"),
        }
    }
}

/// One bucket. Written out, it is the key in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    home: Home,
    bucket: &'static str,
    key: Option<Uuid>,
}

impl Key {
    /// What unknown callers share when there are too many of them.
    pub(super) const CROWD: Key = Key {
        home: Home(Whose::Address(None)),
        bucket: "",
        key: None,
    };
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:rl:{}", self.home, self.bucket)?;
        self.key.map_or(Ok(()), |key| write!(f, ":{key}"))
    }
}

/// The address as one that is counted: version 4, also when it is written inside version 6, or the first half of version 6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(address: &str) -> String {
        Home::address(Some(address.parse().expect("an address"))).to_string()
    }

    #[test]
    fn an_address_is_counted_once_however_it_is_written() {
        assert_eq!(home("203.0.113.7"), "ip:{203.0.113.7}");
        assert_eq!(home("::ffff:203.0.113.7"), home("203.0.113.7"));
        assert_eq!(home("2001:db8:1:2:3:4:5:6"), "ip:{2001:db8:1:2::}");
        assert_eq!(home("2001:db8:1:2::1"), home("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(home("2001:db8:1:2::1"), home("2001:db8:1:3::1"));
    }

    #[test]
    fn a_batch_is_a_tenth_of_a_second_or_a_quarter_of_the_burst_and_never_nothing() {
        for (quota, batch) in [
            (Quota::per_minute(100), 1),
            (Quota::per_minute(1_200), 2),
            (Quota::per_minute(30_000), 50),
            (Quota::per_minute(30_000).burst(20), 5),
            (Quota::per_minute(30_000).burst(1), 1),
            (Quota::per_hour(3), 1),
            (Quota::per_second(1_000), 100),
        ] {
            assert_eq!(quota.batch(), batch, "{quota:?}");
        }
        assert_eq!(Quota::per_minute(0).count, 1);
    }

    #[test]
    fn the_keys_of_a_call_share_a_hash_tag() {
        let home = Home::workspace(WorkspaceId::from_uuid(Uuid::from_u128(7)));
        let (one, two) = (
            Ask::new("workspace", Quota::per_minute(1)),
            Ask::new("user", Quota::per_minute(1)).of(Uuid::from_u128(8)),
        );
        let tag = "ws:{00000000-0000-0000-0000-000000000007}:rl";
        assert_eq!(home.key(&one).to_string(), format!("{tag}:workspace"));
        assert_eq!(
            home.key(&two).to_string(),
            format!("{tag}:user:00000000-0000-0000-0000-000000000008")
        );
    }
}
