//! Requests over kept connections: as fast as they are answered, or on a clock whether they are answered or not.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time};

/// What is sent, by the request's number.
pub type Make = Arc<dyn Fn(u64) -> Request<Full<Bytes>> + Send + Sync>;
/// Whether an answer is the one that was wanted.
pub type Judge = fn(StatusCode, &[u8]) -> bool;

/// Who is asked what.
#[derive(Clone)]
pub struct Subject {
    pub address: SocketAddr,
    pub make: Make,
    pub judge: Judge,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long it went on.
    pub seconds: f64,
    /// When each right answer had been wanted (since the start) and how late it came, in microseconds.
    pub answers: Vec<(u64, u64)>,
    /// Refused by 429 or 503: load that was shed.
    pub shed: u64,
    /// What the first of those were told.
    pub told: Vec<String>,
    /// Wrong answers by their status, and connections that broke by their error.
    pub failed: BTreeMap<String, u64>,
    /// Arrivals that the client itself could not send in time.
    pub unsent: u64,
}

impl Measured {
    /// Right answers a second.
    pub fn rate(&self) -> f64 {
        self.answers.len() as f64 / self.seconds
    }

    /// How much failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// A quantile of the latency, in milliseconds.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(self.answers.iter().map(|(_, took)| *took).collect(), q)
    }

    fn add(&mut self, other: Measured) {
        self.answers.extend(other.answers);
        self.shed += other.shed;
        self.told.extend(other.told);
        for (why, count) in other.failed {
            *self.failed.entry(why).or_default() += count;
        }
        self.unsent += other.unsent;
    }
}

/// A quantile of latencies in microseconds, in milliseconds; not a number where there is none.
pub fn quantile(mut took: Vec<u64>, q: f64) -> f64 {
    if took.is_empty() {
        return f64::NAN;
    }
    took.sort_unstable();
    let place = ((took.len() - 1) as f64 * q).round() as usize;
    took[place] as f64 / 1_000.0
}

/// Asks over `connections`, each again as soon as it is answered: the most that the subject can do.
pub async fn closed(subject: &Subject, connections: usize, period: Duration) -> Result<Measured> {
    let number = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let mut line = Line::new(subject.clone());
        let number = number.clone();
        tasks.spawn(async move {
            let mut seen = Measured::default();
            while start.elapsed() < period {
                let wanted = start.elapsed();
                line.ask(number.fetch_add(1, Ordering::Relaxed), start, wanted, &mut seen)
                    .await;
            }
            seen
        });
    }
    gathered(tasks, start).await
}

/// Asks `rate` times a second, on a clock. Latency counts from the instant that a request was due, so that a server that stalls is
/// charged for everybody who waits. An arrival that could not be sent within `patience` is given up.
pub async fn open(
    subject: &Subject,
    rate: f64,
    connections: usize,
    period: Duration,
    patience: Duration,
) -> Result<Measured> {
    let number = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let mut line = Line::new(subject.clone());
        let number = number.clone();
        tasks.spawn(async move {
            let mut seen = Measured::default();
            loop {
                let n = number.fetch_add(1, Ordering::Relaxed);
                let wanted = Duration::from_secs_f64(n as f64 / rate);
                if wanted > period {
                    return seen;
                }
                let now = start.elapsed();
                if now < wanted {
                    time::sleep_until((start + wanted).into()).await;
                } else if now - wanted > patience {
                    seen.unsent += 1;
                    continue;
                }
                line.ask(n, start, wanted, &mut seen).await;
            }
        });
    }
    gathered(tasks, start).await
}

async fn gathered(mut tasks: JoinSet<Measured>, start: Instant) -> Result<Measured> {
    let mut all = Measured::default();
    while let Some(one) = tasks.join_next().await {
        all.add(one?);
    }
    all.seconds = start.elapsed().as_secs_f64();
    Ok(all)
}

/// One connection, made when it is first wanted and again when it broke.
struct Line {
    subject: Subject,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    fn new(subject: Subject) -> Line {
        Line { subject, sender: None }
    }

    async fn ask(&mut self, n: u64, start: Instant, wanted: Duration, seen: &mut Measured) {
        match self.answer((self.subject.make)(n)).await {
            Ok((status, body)) if (self.subject.judge)(status, &body) => {
                let took = start.elapsed().saturating_sub(wanted);
                seen.answers.push((wanted.as_micros() as u64, took.as_micros() as u64));
            }
            Ok((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, body)) => {
                seen.shed += 1;
                if seen.told.is_empty() {
                    seen.told.push(String::from_utf8_lossy(&body).into_owned());
                }
            }
            Ok((status, _)) => *seen.failed.entry(status.to_string()).or_default() += 1,
            Err(error) => {
                *seen.failed.entry(error.to_string()).or_default() += 1;
                self.sender = None;
                time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn answer(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let sender = match &mut self.sender {
            Some(sender) if !sender.is_closed() => sender,
            // The server may close a connection that nobody used for long: that is no failure.
            broken => broken.insert(connect(self.subject.address).await?),
        };
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nobody listens at {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // A connection that breaks is seen by whoever asks over it.
        let _ = connection.await;
    });
    Ok(sender)
}
