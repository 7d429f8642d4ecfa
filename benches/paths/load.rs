//! Requests over kept connections: as fast as they are answered, or on a clock whether they are answered or not.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::http::{Method, StatusCode};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use httparse::{EMPTY_HEADER, Header, Response, Status};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time,
};

/// What is sent, by the request's number.
pub type Make = Arc<dyn Fn(u64) -> Bytes + Send + Sync>;
/// Whether an answer is the one that was wanted.
pub type Judge = fn(StatusCode, &[u8]) -> bool;

/// Who is asked what.
#[derive(Clone)]
pub struct Subject {
    pub address: SocketAddr,
    pub make: Make,
    pub judge: Judge,
}

/// A request as it is sent.
pub fn request(method: &Method, path: &str, headers: &[(&str, &str)], body: &str) -> Bytes {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
    }
    Bytes::from(format!("{text}\r\n{body}"))
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

/// One connection, made when it is first wanted and again when it broke. It reads no more of an answer than it needs: an HTTP client for all
/// purposes takes as long for an answer with many headers as some servers do, and would be what is measured.
struct Line {
    subject: Subject,
    stream: Option<TcpStream>,
    /// What was read of an answer.
    read: Vec<u8>,
}

impl Line {
    fn new(subject: Subject) -> Line {
        Line {
            subject,
            stream: None,
            read: Vec::new(),
        }
    }

    async fn ask(&mut self, n: u64, start: Instant, wanted: Duration, seen: &mut Measured) {
        let judge = self.subject.judge;
        match self.answer((self.subject.make)(n)).await {
            Ok((status, body)) if judge(status, body) => {
                let took = start.elapsed().saturating_sub(wanted);
                seen.answers.push((wanted.as_micros() as u64, took.as_micros() as u64));
            }
            Ok((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, body)) => {
                seen.shed += 1;
                if seen.told.is_empty() {
                    seen.told.push(String::from_utf8_lossy(body).into_owned());
                }
            }
            Ok((status, _)) => *seen.failed.entry(status.to_string()).or_default() += 1,
            Err(error) => {
                *seen.failed.entry(error.to_string()).or_default() += 1;
                time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// The answer's status and body. The connection is kept unless it broke.
    async fn answer(&mut self, request: Bytes) -> Result<(StatusCode, &[u8])> {
        let mut stream = match self.stream.take() {
            Some(stream) if is_open(&stream) => stream,
            // The server may close a connection that nobody used for long: that is no failure.
            _ => connect(self.subject.address).await?,
        };
        stream.write_all(&request).await?;
        self.read.clear();
        let head = loop {
            more(&mut stream, &mut self.read).await?;
            if let Some(head) = head(&self.read)? {
                break head;
            }
        };
        while self.read.len() < head.length + head.body {
            more(&mut stream, &mut self.read).await?;
        }
        ensure!(self.read.len() == head.length + head.body, "more than the answer");
        if !head.is_last {
            self.stream = Some(stream);
        }
        Ok((head.status, &self.read[head.length..]))
    }
}

/// What the head of an answer says, and how long it is and its body, in bytes.
struct Head {
    status: StatusCode,
    length: usize,
    body: usize,
    /// The server closes the connection after it.
    is_last: bool,
}

/// The head, when it is there.
fn head(read: &[u8]) -> Result<Option<Head>> {
    let mut headers = [EMPTY_HEADER; 32];
    let mut answer = Response::new(&mut headers);
    let Status::Complete(length) = answer.parse(read)? else {
        return Ok(None);
    };
    let value = |name: &str| {
        let is_it = |header: &&Header| header.name.eq_ignore_ascii_case(name);
        answer.headers.iter().find(is_it).map(|header| header.value)
    };
    let body = value("content-length").context("an answer that does not say how long it is")?;
    Ok(Some(Head {
        status: StatusCode::from_u16(answer.code.context("an answer without a status")?)?,
        length,
        body: std::str::from_utf8(body)?.parse()?,
        is_last: value("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close")),
    }))
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Result<()> {
    ensure!(stream.read_buf(read).await? > 0, "closed before the answer was there");
    Ok(())
}

/// Nothing is to be read from a connection between two requests, but for its end.
fn is_open(stream: &TcpStream) -> bool {
    stream
        .try_read(&mut [0])
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nobody listens at {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
