//! From names to addresses that may be called. Every answer is judged whole: one forbidden address refuses all of it.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::{Policy, Refusal};

/// What asking for a name gives; `None`: there is no answer.
pub(super) type Found = Pin<Box<dyn Future<Output = Option<Vec<IpAddr>>> + Send>>;

/// Who knows names.
pub(super) trait Names: Send + Sync {
    /// All addresses of an absolute name, with its final dot.
    fn addresses(&self, name: String) -> Found;
}

/// The system's name servers and hosts file, asked by ourselves: absolute names only, both families, within bounds.
#[derive(Default)]
pub(super) struct System {
    resolver: Arc<OnceLock<Option<TokioResolver>>>,
}

impl Names for System {
    fn addresses(&self, name: String) -> Found {
        let resolver = self.resolver.clone();
        Box::pin(async move {
            let resolver = resolver.get_or_init(resolver_of_the_system).as_ref()?;
            let answer = resolver.lookup_ip(name).await.ok()?;
            Some(answer.iter().collect())
        })
    }
}

fn resolver_of_the_system() -> Option<TokioResolver> {
    let built = TokioResolver::builder_tokio().and_then(|mut builder| {
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        options.timeout = Duration::from_secs(2);
        options.attempts = 2;
        options.positive_max_ttl = Some(Duration::from_secs(30));
        options.negative_max_ttl = Some(Duration::from_secs(5));
        builder.build()
    });
    built
        .inspect_err(|error| tracing::error!(%error, "the name servers of this machine cannot be read"))
        .ok()
}

/// Asks for names and judges the answers.
#[derive(Clone)]
pub(super) struct Vetted {
    pub(super) names: Arc<dyn Names>,
    pub(super) policy: Arc<Policy>,
}

/// Why a name leads nowhere.
#[derive(Debug)]
pub(super) enum Nowhere {
    Unknown,
    Refused(Refusal),
}

impl fmt::Display for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nowhere::Unknown => f.write_str("no such name"),
            Nowhere::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl StdError for Nowhere {}

impl Vetted {
    /// The addresses of a name, all of which may be called.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Nowhere> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let found = self.names.addresses(format!("{name}.")).await;
        let found = found.filter(|found| !found.is_empty()).ok_or(Nowhere::Unknown)?;
        if !self.policy.allows_name(name) {
            for address in &found {
                self.policy.judge_address(*address).map_err(Nowhere::Refused)?;
            }
        }
        Ok(found)
    }
}

impl Resolve for Vetted {
    /// What the connection is made with: asked and judged once more, so there is no moment between the judging and the calling.
    fn resolve(&self, name: Name) -> Resolving {
        let vetted = self.clone();
        Box::pin(async move {
            let found = vetted.addresses(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
