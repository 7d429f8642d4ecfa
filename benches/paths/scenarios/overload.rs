//! Ten times what the server can do, offered for half a minute: what it still does, and how soon it is itself again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::{
    Options,
    fixture::Bench,
    load::{self, Measured, Subject, quantile},
    report::{Row, Verdict},
    stack::CONNECTIONS,
};

/// Everybody who asks at once while there is too much.
const CROWD: usize = 2_000;
/// Who waits longer has gone away: such an answer is of no use.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the client itself cannot send in this time was never offered: its own lateness is not the server's.
const LATE: Duration = Duration::from_millis(50);
/// How long it goes on.
const LONG: Duration = Duration::from_secs(30);

/// A path that PostgreSQL bounds: nearly as much is needed to refuse as to answer, so what others ask takes from what is done.
pub async fn reads(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let license = &bench.licenses[0];
    let asked = json!({ "key": license.key, "scope": { "fingerprint": license.fingerprint } });
    let subject = bench.subject(vec![(Method::POST, "/licenses/validate".into(), Some(asked))], is_ok);
    flooded("overload.reads", &subject, options).await
}

/// A path that the processor bounds, by design: every right password costs the same as a wrong one.
pub async fn sign_ins(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let password = bench.stack.secret("administrator")?;
    let logins = bench.people.iter().map(|email| {
        let login = json!({ "identifier": email, "password": password });
        (Method::POST, "/auth/login".to_owned(), Some(login))
    });
    let mut subject = bench.subject(logins.collect(), is_ok);
    let make = subject.make.clone();
    subject.make = Arc::new(move |n| {
        let mut request = make(n);
        let headers = request.headers_mut();
        headers.remove("authorization");
        // Everybody from an address of their own: how often one may try is not what is measured.
        let [a, b, c, ..] = n.to_le_bytes();
        let address = format!("10.{c}.{b}.{a}");
        headers.insert("x-forwarded-for", address.parse().expect("an address is a value"));
        request
    });
    flooded("overload.sign_ins", &subject, options).await
}

fn is_ok(status: StatusCode, _body: &[u8]) -> bool {
    status == StatusCode::OK
}

async fn flooded(path: &'static str, subject: &Subject, options: &Options) -> Result<Vec<Row>> {
    let line = 2 * CONNECTIONS;
    let peak = load::closed(subject, line, options.period() * 2).await?.rate();
    let normal = load::open(subject, peak / 2.0, line, options.period() * 2, PATIENCE).await?;
    let flood = load::open(subject, 10.0 * peak, CROWD, LONG, LATE).await?;
    let after = load::open(subject, peak / 2.0, line, options.period() * 2, PATIENCE).await?;
    let in_time = |(_, took): &&(u64, u64)| u128::from(*took) <= PATIENCE.as_micros();
    let goodput = flood.answers.iter().filter(in_time).count() as f64 / flood.seconds;
    let (shed, unsent) = (flood.shed, flood.unsent);
    // Who is refused is held for a moment, and asks no more meanwhile: so fewer arrive than were to come.
    let arrived = (flood.answers.len() as u64 + flood.failures() + shed) as f64 / flood.seconds / peak;
    Ok(vec![
        Row {
            path,
            what: "goodput at ten times the peak, answers within 1 s; the peak".into(),
            figure: format!("{goodput:.0}/s of {peak:.0}/s; {arrived:.1} × arrived: {shed} shed, {unsent} unsent"),
            verdict: Verdict::AtLeast(goodput / peak, 0.9),
        },
        Row {
            path,
            what: "wrong answers and broken connections meanwhile".into(),
            figure: format!("{:?}", flood.failed),
            verdict: Verdict::AtMost(flood.failures() as f64, 0.0, ""),
        },
        Row {
            path,
            what: "until half the peak is served as before".into(),
            figure: format!(
                "p99 before {:.1} ms, after {:.1} ms",
                normal.quantile(0.99),
                after.quantile(0.99)
            ),
            verdict: Verdict::AtMost(recovered(&normal, &after), 2.0, "s"),
        },
    ])
}

/// The end of the last quarter of a second whose p99 was worse than 15 ms and than that of the worst one before the flood, in seconds: the
/// same load on the same machine has its hiccups without any flood.
fn recovered(normal: &Measured, after: &Measured) -> f64 {
    let usual = quarters(normal).into_iter().map(|(_, late)| late).fold(15.0, f64::max);
    let slow = quarters(after).into_iter().rfind(|(_, late)| *late > usual);
    slow.map_or(0.0, |(quarter, _)| (quarter + 1) as f64 * QUARTER as f64 / 1e6)
}

/// A quarter of a second, in microseconds.
const QUARTER: u64 = 250_000;

/// The p99 of each quarter of a second in which there was enough to speak of one.
fn quarters(measured: &Measured) -> Vec<(u64, f64)> {
    let mut quarters: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (wanted, took) in &measured.answers {
        quarters.entry(wanted / QUARTER).or_default().push(*took);
    }
    let enough = quarters.into_iter().filter(|(_, took)| took.len() >= 5);
    enough.map(|(quarter, took)| (quarter, quantile(took, 0.99))).collect()
}
