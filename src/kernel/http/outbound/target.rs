//! Where a call may go: the address as it was written, understood once.

use std::{fmt, net::IpAddr};

use anyhow::{Result, bail};
use ipnet::IpNet;
use url::{Host, Url};

use super::address::is_forbidden;
use crate::kernel::error::{Error, TARGET_NOT_ALLOWED};

/// The longest address that is accepted, in bytes.
const LONGEST: usize = 2_048;

/// Ports above 1,023 behind which live things that speak no HTTP, or too much of it: databases, caches, queues, mail, orchestration.
const CLOSED_PORTS: &[u16] = &[
    1433, 1434, 1521, 2049, 2181, 2375, 2376, 2377, 2379, 2380, 2525, 3306, 3389, 4369, 5432, 5433, 5672, 5900, 5984,
    5985, 5986, 6000, 6379, 6380, 6432, 6443, 7000, 7001, 8500, 9042, 9092, 9200, 9300, 10250, 10255, 11211, 15672,
    26379, 27017, 27018, 27019,
];

/// Whether anybody is called at this port.
pub fn is_open(port: u16) -> bool {
    matches!(port, 80 | 443) || (port >= 1_024 && !CLOSED_PORTS.contains(&port))
}

/// What an operator decides.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
    plain: bool,
    own: Option<Host>,
}

impl Policy {
    /// The policy of a configuration: `http.allow_targets`, `http.allow_plain`, and our own address, which is no target.
    ///
    /// # Errors
    /// An entry that is neither a network, an address nor a host name; a public URL that cannot be read.
    pub fn new(allow_targets: &[String], plain: bool, public_url: &str) -> Result<Policy> {
        let mut policy = Policy {
            plain,
            own: Some(host_of(&Url::parse(public_url)?).unwrap_or(Host::Domain(String::new()))),
            ..Policy::default()
        };
        for entry in allow_targets {
            if let Ok(network) = entry.parse::<IpNet>() {
                policy.networks.push(network);
            } else if let Ok(address) = entry.parse::<IpAddr>() {
                policy.networks.push(address.into());
            } else if let Ok(Host::Domain(name)) = Host::parse(entry) {
                policy.hosts.push(absolute(&name).to_owned());
            } else {
                bail!(
                    "configuration key http.allow_targets: {entry:?} is neither a network, an address nor a host name"
                );
            }
        }
        Ok(policy)
    }

    /// Reads and judges an address as far as that is possible without asking for names.
    ///
    /// # Errors
    /// Why it is no target: for the log, not for the customer.
    pub fn judge(&self, text: &str) -> Result<Target, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::TooLong);
        }
        // The standard would quietly take them out, so the text that a person read would not be the address that is called.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Refusal::Unreadable);
        }
        let mut url = Url::parse(text).map_err(|_| Refusal::Unreadable)?;
        match url.scheme() {
            "https" => {}
            "http" if self.plain => {}
            _ => return Err(Refusal::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refusal::Fragment);
        }
        let host = host_of(&url).ok_or(Refusal::Unreadable)?;
        if let (Host::Domain(name), Some(written)) = (&host, url.domain())
            && name != written
        {
            url.set_host(Some(&name.clone())).map_err(|_| Refusal::Unreadable)?;
        }
        if !url.port_or_known_default().is_some_and(is_open) {
            return Err(Refusal::Port);
        }
        // Written out, it may have grown.
        if url.as_str().len() > LONGEST {
            return Err(Refusal::TooLong);
        }
        let target = Target { url, host };
        match &target.host {
            host if self.allows_host(host) => {}
            host if Some(host) == self.own.as_ref() => return Err(Refusal::Ourselves),
            Host::Ipv4(address) => self.judge_address((*address).into())?,
            Host::Ipv6(address) => self.judge_address((*address).into())?,
            Host::Domain(_) => {}
        }
        Ok(target)
    }

    /// Judges an address that a name stands for, or that a connection was made to.
    ///
    /// # Errors
    /// It is not public, and no operator allowed it.
    pub fn judge_address(&self, address: IpAddr) -> Result<(), Refusal> {
        match is_forbidden(address) && !self.networks.iter().any(|network| network.contains(&address)) {
            true => Err(Refusal::Address(address)),
            false => Ok(()),
        }
    }

    /// True if whatever the host stands for is allowed.
    pub(super) fn allows_host(&self, host: &Host) -> bool {
        match host {
            Host::Domain(name) => self.allows_name(name),
            Host::Ipv4(address) => self
                .networks
                .iter()
                .any(|network| network.contains(&IpAddr::V4(*address))),
            Host::Ipv6(address) => self
                .networks
                .iter()
                .any(|network| network.contains(&IpAddr::V6(*address))),
        }
    }

    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host == name)
    }
}

/// The host with its name in one spelling: no dot at the end.
fn host_of(url: &Url) -> Option<Host> {
    match url.host()?.to_owned() {
        Host::Domain(name) => Some(absolute(&name))
            .filter(|name| !name.is_empty() && name.len() <= 253 && !name.ends_with('.'))
            .map(|name| Host::Domain(name.to_owned())),
        literal => Some(literal),
    }
}

fn absolute(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// An address that may be called, as far as its text tells.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) url: Url,
    pub(super) host: Host,
}

impl Target {
    /// The address in its one spelling: store this one.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Why something is no target. For the log: the customer learns only that it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unreadable,
    TooLong,
    Scheme,
    UserInfo,
    Fragment,
    Port,
    /// It is our own public address.
    Ourselves,
    /// It is, or stands for, an address that is not public.
    Address(IpAddr),
    /// The connection says of itself that it goes nowhere.
    NoPeer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable => f.write_str("not readable as an address"),
            Refusal::TooLong => f.write_str("too long"),
            Refusal::Scheme => f.write_str("a scheme that is not allowed"),
            Refusal::UserInfo => f.write_str("user information in the address"),
            Refusal::Fragment => f.write_str("a fragment in the address"),
            Refusal::Port => f.write_str("a port that is not allowed"),
            Refusal::Ourselves => f.write_str("our own address"),
            Refusal::Address(address) => write!(f, "{address} is not public"),
            Refusal::NoPeer => f.write_str("a connection without a peer"),
        }
    }
}

impl From<Refusal> for Error {
    /// 422 `target-not-allowed`, without the reason.
    fn from(refusal: Refusal) -> Error {
        tracing::info!(%refusal, "a target was refused");
        TARGET_NOT_ALLOWED.into()
    }
}
