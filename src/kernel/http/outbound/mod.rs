//! The one client for every address that a customer can influence: webhooks, login providers, tools, imports. It reaches the public
//! Internet and what an operator allowed, whatever the address is spelled like and whatever its name stands for a moment later.

mod address;
mod names;
mod target;
#[cfg(test)]
mod tests;

use std::{
    error::Error as StdError,
    fmt, io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use reqwest::{Client, Method, Response, header::HeaderMap, redirect};

use self::names::{Names, Nowhere, System, Vetted};
pub use self::target::{Policy, Refusal, Target, is_open};
use crate::kernel::{config::Config, metrics};

/// How long a name, and a connection, may take each.
const STEP: Duration = Duration::from_secs(5);
/// Headers of an answer that are kept.
const HEADERS: usize = 32;

/// Makes calls to addresses that somebody else chose. One per process; clones are one.
#[derive(Clone)]
pub struct Outbound {
    client: Client,
    vetted: Vetted,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub method: Method,
    /// As the customer wrote it.
    pub url: String,
    /// Sent as they are, beside `Host` and `Content-Length`.
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// For everything together, the answer's body included.
    pub patience: Duration,
    /// Bytes of the answer's body that are read.
    pub answer_limit: usize,
    /// What happens beyond it.
    pub excess: Excess,
}

/// What happens to an answer that is longer than wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Its beginning is enough.
    Cut,
    /// Half of it is worth nothing: [`Failure::BodyTooLarge`].
    Refuse,
}

impl Outgoing {
    /// A `GET` within 15 seconds whose answer must not exceed 1 MiB.
    pub fn get(url: impl Into<String>) -> Outgoing {
        Outgoing {
            method: Method::GET,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            patience: Duration::from_secs(15),
            answer_limit: 1 << 20,
            excess: Excess::Refuse,
        }
    }

    /// A `POST` within 15 seconds; of the answer the first 16 KiB are read.
    pub fn post(url: impl Into<String>, headers: HeaderMap, body: Vec<u8>) -> Outgoing {
        Outgoing {
            method: Method::POST,
            headers,
            body,
            answer_limit: 16 << 10,
            excess: Excess::Cut,
            ..Outgoing::get(url)
        }
    }
}

/// What came back. Redirects are answers like any other: they are never followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// At most 32, values with what is not UTF-8 replaced.
    pub headers: Vec<(String, String)>,
    /// At most as much as was wanted.
    pub body: Vec<u8>,
    /// There was more.
    pub cut: bool,
    /// Who answered.
    pub peer: IpAddr,
    pub took: Duration,
}

impl Answer {
    /// The first header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text that PostgreSQL can hold: at most so many bytes, what is not UTF-8 replaced, without U+0000.
    pub fn text(&self, most: usize) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(most)]).replace('\0', "")
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may not be called. The customer learns only that.
    TargetNotAllowed(Refusal),
    /// The name is unknown, or nobody said so in time.
    Dns,
    Connect,
    Tls,
    Timeout,
    /// What came back is not HTTP, or it broke off.
    Http,
    BodyTooLarge,
}

impl Failure {
    /// What attempts record and customers read.
    pub const fn code(&self) -> &'static str {
        match self {
            Failure::TargetNotAllowed(_) => "target_not_allowed",
            Failure::Dns => "dns",
            Failure::Connect => "connect",
            Failure::Tls => "tls",
            Failure::Timeout => "timeout",
            Failure::Http => "http",
            Failure::BodyTooLarge => "body_too_large",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl StdError for Failure {}

impl Outbound {
    /// A client of this configuration.
    ///
    /// # Errors
    /// `http.allow_targets` or `server.public_url` cannot be read; no TLS.
    pub fn new(config: &Config) -> Result<Outbound> {
        let policy = Policy::new(
            &config.http.allow_targets,
            config.http.allow_plain,
            &config.server.public_url,
        )?;
        Outbound::with(policy, Arc::new(System::default()))
    }

    fn with(policy: Policy, names: Arc<dyn Names>) -> Result<Outbound> {
        let vetted = Vetted {
            names,
            policy: Arc::new(policy),
        };
        let client = Client::builder()
            .dns_resolver(vetted.clone())
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("Guildhall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(STEP)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .build()
            .context("the client for outgoing calls cannot be made")?;
        Ok(Outbound { client, vetted })
    }

    /// Judges an address without calling it: what an endpoint's creation asks. A name that nobody knows yet is no reason to refuse.
    ///
    /// # Errors
    /// Why it may not be called; as an [`Error`](crate::kernel::error::Error) it is 422 `target-not-allowed`.
    pub async fn vet(&self, url: &str) -> Result<Target, Refusal> {
        let target = self.vetted.policy.judge(url)?;
        match tokio::time::timeout(STEP, self.look_up(&target)).await {
            Ok(Err(Nowhere::Refused(refusal))) => Err(refusal),
            Ok(Ok(()) | Err(Nowhere::Unknown)) | Err(_) => Ok(target),
        }
    }

    /// Makes a call: judged now, whatever it was judged before.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let patience = outgoing.patience;
        let answer = match tokio::time::timeout(patience, self.exchange(outgoing, begun)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Timeout),
        };
        let outcome = answer.as_ref().map_or_else(Failure::code, |_| "ok");
        metrics::DEPENDENCY_CALLS
            .with_label_values(&["outbound", "send", outcome])
            .inc();
        if let Err(Failure::TargetNotAllowed(refusal)) = &answer {
            tracing::warn!(%refusal, "an outgoing call was refused");
        }
        answer
    }

    async fn exchange(&self, outgoing: Outgoing, begun: Instant) -> Result<Answer, Failure> {
        let target = self
            .vetted
            .policy
            .judge(&outgoing.url)
            .map_err(Failure::TargetNotAllowed)?;
        // Asked here too and not only when a connection is made: one that is still open must not outlive a change of mind.
        match tokio::time::timeout(STEP, self.look_up(&target)).await {
            Ok(Ok(())) => {}
            Ok(Err(Nowhere::Refused(refusal))) => return Err(Failure::TargetNotAllowed(refusal)),
            Ok(Err(Nowhere::Unknown)) | Err(_) => return Err(Failure::Dns),
        }
        let request = self
            .client
            .request(outgoing.method, target.url.clone())
            .headers(outgoing.headers)
            .body(outgoing.body);
        let response = request.send().await.map_err(|error| failure(&error))?;
        let peer = self.judge_peer(&target, &response).map_err(Failure::TargetNotAllowed)?;
        let (status, headers) = (response.status().as_u16(), kept(response.headers()));
        let (body, cut) = read(response, outgoing.answer_limit).await?;
        if cut && outgoing.excess == Excess::Refuse {
            return Err(Failure::BodyTooLarge);
        }
        Ok(Answer {
            status,
            headers,
            body,
            cut,
            peer,
            took: begun.elapsed(),
        })
    }

    async fn look_up(&self, target: &Target) -> Result<(), Nowhere> {
        match &target.host {
            url::Host::Domain(name) => self.vetted.addresses(name).await.map(drop),
            url::Host::Ipv4(_) | url::Host::Ipv6(_) => Ok(()),
        }
    }

    fn judge_peer(&self, target: &Target, response: &Response) -> Result<IpAddr, Refusal> {
        let peer = response.remote_addr().ok_or(Refusal::NoPeer)?.ip();
        if !self.vetted.policy.allows_host(&target.host) {
            self.vetted.policy.judge_address(peer)?;
        }
        Ok(peer)
    }
}

/// Reads at most so much; says whether there was more.
async fn read(mut response: Response, limit: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "");
    let all = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
    all.take(HEADERS).collect()
}

/// What kind of failure it was, from the chain of its causes.
fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(found) = cause {
        match found.downcast_ref::<Nowhere>() {
            Some(Nowhere::Refused(refusal)) => return Failure::TargetNotAllowed(refusal.clone()),
            Some(Nowhere::Unknown) => return Failure::Dns,
            None => {}
        }
        if error.is_connect() && found.downcast_ref().is_some_and(speaks_no_tls) {
            return Failure::Tls;
        }
        cause = found.source();
    }
    match () {
        () if error.is_dns() => Failure::Dns,
        () if error.is_connect() && error.is_timeout() => Failure::Connect,
        () if error.is_timeout() => Failure::Timeout,
        () if error.is_connect() => Failure::Connect,
        () => Failure::Http,
    }
}

/// Whether a connection failed by what the peer said, not by the network. The library's error may be wrapped in another of its kind.
fn speaks_no_tls(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        || error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<io::Error>())
            .is_some_and(speaks_no_tls)
}
