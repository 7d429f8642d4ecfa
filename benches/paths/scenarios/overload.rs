//! Ten times what the server can do, offered for half a minute: what it still does, and how soon it is itself again.

use std::time::Duration;

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::{
    Options,
    fixture::Bench,
    load::{self, Measured, quantile},
    report::{Row, Verdict},
    stack::CONNECTIONS,
};

/// Everybody who asks at once while there is too much.
const CROWD: usize = 2_000;
/// Who waits longer has gone away: such an answer is of no use.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it goes on.
const LONG: Duration = Duration::from_secs(30);

pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let judge = |status, _: &[u8]| status == StatusCode::OK;
    let license = &bench.licenses[0];
    let asked = json!({ "key": license.key, "scope": { "fingerprint": license.fingerprint } });
    let subject = bench.subject(vec![(Method::POST, "/licenses/validate".into(), Some(asked))], judge);
    let peak = load::closed(&subject, 4 * CONNECTIONS, options.period() * 2)
        .await?
        .rate();
    let normal = load::open(&subject, peak / 2.0, 4 * CONNECTIONS, options.period(), PATIENCE).await?;
    let flood = load::open(&subject, 10.0 * peak, CROWD, LONG, PATIENCE).await?;
    let after = load::open(&subject, peak / 2.0, 4 * CONNECTIONS, options.period() * 2, PATIENCE).await?;
    let in_time = flood
        .answers
        .iter()
        .filter(|(_, took)| u128::from(*took) <= PATIENCE.as_micros())
        .count();
    let goodput = in_time as f64 / flood.seconds;
    Ok(vec![
        Row {
            path: "overload",
            what: "goodput at ten times the peak, answers within 1 s; the peak".into(),
            figure: format!(
                "{goodput:.0}/s of {peak:.0}/s; {} shed, {} unsent",
                flood.shed, flood.unsent
            ),
            verdict: Verdict::AtLeast(goodput / peak, 0.9),
        },
        Row {
            path: "overload",
            what: "wrong answers and broken connections meanwhile".into(),
            figure: format!("{:?}", flood.failed),
            verdict: Verdict::AtMost(flood.failures() as f64, 0.0, ""),
        },
        Row {
            path: "overload",
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

/// The end of the last quarter of a second in which the p99 was worse than twice the usual one and 15 ms, in seconds.
fn recovered(normal: &Measured, after: &Measured) -> f64 {
    const SLICE: u64 = 250_000;
    let usual = (2.0 * normal.quantile(0.99)).max(15.0);
    let last = after
        .answers
        .iter()
        .map(|(wanted, _)| wanted / SLICE)
        .max()
        .unwrap_or(0);
    let slow = (0..=last).rev().find(|slice| {
        let took = after.answers.iter().filter(|(wanted, _)| wanted / SLICE == *slice);
        quantile(took.map(|(_, took)| *took).collect(), 0.99) > usual
    });
    slow.map_or(0.0, |slice| (slice + 1) as f64 * SLICE as f64 / 1e6)
}
