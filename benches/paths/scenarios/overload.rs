//! Ten times what the server can do, offered for half a minute: what it still does, and how soon it is itself again.

use std::{sync::Arc, time::Duration};

use actix_web::http::{Method, StatusCode};
use anyhow::Result;
use serde_json::json;

use crate::{
    Options,
    fixture::Bench,
    load::{self, Make, Measured, Subject, quantile},
    report::{Row, Verdict},
    stack::CALLERS,
};

/// Everybody who asks at once while there is too much.
const CROWD: usize = 2_000;
/// Who waits longer has gone away: such an answer is of no use.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the client itself cannot send in this time was never offered: its own lateness is not the server's.
const LATE: Duration = Duration::from_millis(50);
/// How many spells are watched at least, before as after: one that is slow by chance does not decide.
const SPELLS: f64 = 24.0;
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
    let logins = bench
        .people
        .iter()
        .map(|email| json!({ "identifier": email, "password": password }).to_string());
    let logins: Vec<String> = logins.collect();
    let host = bench.stack.address.to_string();
    let make: Make = Arc::new(move |n| {
        // Everybody from an address of their own: how often one may try is not what is measured.
        let [a, b, c, ..] = n.to_le_bytes();
        let address = format!("10.{c}.{b}.{a}");
        let headers = [
            ("host", host.as_str()),
            ("content-type", "application/json"),
            ("x-forwarded-for", &address),
        ];
        let login = &logins[n as usize % logins.len()];
        load::request(&Method::POST, "/api/v1/auth/login", &headers, login)
    });
    let subject = Subject {
        address: bench.stack.address,
        make,
        judge: is_ok,
    };
    flooded("overload.sign_ins", &subject, options).await
}

fn is_ok(status: StatusCode, _body: &[u8]) -> bool {
    status == StatusCode::OK
}

async fn flooded(path: &'static str, subject: &Subject, options: &Options) -> Result<Vec<Row>> {
    let line = CALLERS;
    let period = options.period() * 2;
    let few = load::closed(subject, line, period).await?.rate();
    let before = peak(subject, few, period).await?;
    let watched = period.max(Duration::from_secs_f64(SPELLS * spell(few / 2.0)));
    let normal = load::open(subject, few / 2.0, line, watched, PATIENCE).await?;
    let flood = load::open(subject, 10.0 * few, CROWD, LONG, LATE).await?;
    let after = load::open(subject, few / 2.0, line, watched, PATIENCE).await?;
    let mut back = Recovery::of(&normal, &after, watched, few / 2.0);
    // What was still to be answered when the flood had ended is a part of it.
    back.seconds += (flood.seconds - LONG.as_secs_f64()).max(0.0);
    // Half a minute is long enough for the machine itself to become another: the better of both sides counts.
    let after_it = peak(subject, few, period).await?;
    let (best, goodput) = (before.max(after_it), goodput(&flood));
    let (shed, unsent) = (flood.shed, flood.unsent);
    // Who is refused is held for a moment, and asks no more meanwhile: so fewer arrive than were to come.
    let arrived = (flood.answers.len() as u64 + flood.failures() + shed) as f64 / flood.seconds / few;
    Ok(vec![
        Row {
            path,
            what: "goodput at ten times the capacity, answers within 1 s; the same crowd's best".into(),
            figure: format!(
                "{goodput:.0}/s of {before:.0}/s before, {after_it:.0}/s after; {arrived:.1} × arrived: {shed} shed, {unsent} unsent"
            ),
            verdict: Verdict::AtLeast(goodput / best, 0.9),
        },
        Row {
            path,
            what: format!("the same, of the capacity: what {line} callers get who ask again once they are answered"),
            figure: format!("{goodput:.0}/s of {few:.0}/s: {:.2}", goodput / few),
            verdict: Verdict::Told,
        },
        Row {
            path,
            what: "wrong answers and broken connections meanwhile".into(),
            figure: format!("{:?}", flood.failed),
            verdict: Verdict::AtMost(flood.failures() as f64, 0.0, ""),
        },
        Row {
            path,
            what: "until half the peak is served as before, for a second at least".into(),
            figure: format!(
                "p99 before {:.1} ms, after {:.1} ms; slow spells after it: {} of {}",
                normal.quantile(0.99),
                after.quantile(0.99),
                back.relapses,
                back.spells
            ),
            verdict: Verdict::AtMost(back.seconds, 2.0, "s"),
        },
    ])
}

/// The most that the crowd gets done in time when it asks for about as much as there is: what differs from the flood is how much is wanted,
/// not how many connections take turns. `few` is what a few callers get when each asks again as soon as it is answered.
async fn peak(subject: &Subject, few: f64, period: Duration) -> Result<f64> {
    let mut best = 0.0;
    for share in [0.8, 1.0, 1.2] {
        let offered = load::open(subject, share * few, CROWD, period, PATIENCE).await?;
        best = goodput(&offered).max(best);
    }
    Ok(best)
}

/// Answers a second that came while somebody still waited for them.
fn goodput(measured: &Measured) -> f64 {
    let in_time = |(_, took): &&(u64, u64)| u128::from(*took) <= PATIENCE.as_micros();
    measured.answers.iter().filter(in_time).count() as f64 / measured.seconds
}

/// How a server came back.
struct Recovery {
    /// Until a second began in which nothing was slow; never, if more than a tenth of the spells after that were slow again.
    seconds: f64,
    /// Spells after that, and how many of them were slow: the same load on the same machine has its hiccups without any flood.
    spells: usize,
    relapses: usize,
}

impl Recovery {
    fn of(normal: &Measured, after: &Measured, period: Duration, rate: f64) -> Recovery {
        let spell = spell(rate);
        let count = (period.as_secs_f64() / spell) as usize;
        // The slowest of a few spells is passed now and then by another of the same kind.
        let usual = 1.25 * spells(normal, spell, count).into_iter().map(late).fold(15.0, f64::max);
        let expected = 0.9 * rate * spell;
        let slow: Vec<bool> = spells(after, spell, count)
            .into_iter()
            .map(|took| (took.len() as f64) < expected || late(took) > usual)
            .collect();
        let calm = (1.0 / spell).ceil() as usize;
        let back = slow.windows(calm).position(|spells| !spells.contains(&true));
        let rest = back.map_or(&[][..], |back| &slow[back..]);
        let relapses = rest.iter().filter(|slow| **slow).count();
        let back = back.filter(|_| 10 * relapses <= rest.len());
        Recovery {
            seconds: back.map_or(f64::INFINITY, |back| back as f64 * spell),
            spells: rest.len(),
            relapses,
        }
    }
}

/// How long a spell is at this rate, in seconds: long enough for a quantile to mean something.
fn spell(rate: f64) -> f64 {
    (20.0 / rate).max(0.25)
}

/// How long the answers took, by the spell in which they were wanted; a spell in which nothing was answered is empty.
fn spells(measured: &Measured, spell: f64, count: usize) -> Vec<Vec<u64>> {
    let mut spells = vec![Vec::new(); count];
    for (wanted, took) in &measured.answers {
        if let Some(answers) = spells.get_mut((*wanted as f64 / 1e6 / spell) as usize) {
            answers.push(*took);
        }
    }
    spells
}

fn late(took: Vec<u64>) -> f64 {
    quantile(took, 0.99)
}
