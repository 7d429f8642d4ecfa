//! A file for each path.

mod bare;
mod licenses;
mod overload;
mod process;
mod rows;

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Options,
    fixture::Bench,
    load::{self, Measured, Subject},
    machine::{Spent, Usage},
    pgbench::{self, Script},
    report::{Row, Verdict},
    stack::{CALLERS, CONNECTIONS},
};

type Running<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>>> + 'a>>;
type Scenario = for<'a> fn(&'a Bench, &'a Options) -> Running<'a>;

/// What can be measured, in the order in which it is. Memory comes first and last: before any load, and after all of it.
pub const SCENARIOS: [(&str, Scenario); 8] = [
    ("process.idle", |bench, _| Box::pin(process::idle(bench))),
    ("process.start", |bench, options| {
        Box::pin(process::start(bench, options))
    }),
    ("http.bare", |bench, options| Box::pin(bare::measure(bench, options))),
    ("rows.get", |bench, options| Box::pin(rows::measure(bench, options))),
    ("licenses.validate", |bench, options| {
        Box::pin(licenses::measure(bench, options))
    }),
    ("overload.reads", |bench, options| {
        Box::pin(overload::reads(bench, options))
    }),
    ("overload.sign_ins", |bench, options| {
        Box::pin(overload::sign_ins(bench, options))
    }),
    ("process.loaded", |bench, _| Box::pin(process::loaded(bench))),
];

/// A pair of measurements, one right after the other.
struct Pair {
    ceiling: f64,
    subject: Measured,
    spent: Spent,
    /// Other processes took part of the machine.
    disturbed: bool,
}

/// Lets ceiling and subject take turns. Pairs during which others were busy are made again, up to twice as many as were asked for.
async fn pairs<F: Future<Output = Result<f64>>>(
    bench: &Bench,
    options: &Options,
    subject: &Subject,
    ceiling: impl Fn(Duration) -> F,
) -> Result<Vec<Pair>> {
    let wanted = options.pairs.max(1);
    load::closed(subject, CALLERS, Duration::from_secs(1)).await?;
    let mut kept = Vec::new();
    for tried in 1.. {
        let before = Usage::now()?;
        let reached = ceiling(options.period()).await?;
        let between = Usage::now()?;
        let measured = load::closed(subject, CALLERS, options.period()).await?;
        let after = Usage::now()?;
        let others = after.since(&before, bench.stack.process()).others;
        let disturbed = others > 0.05;
        let pair = Pair {
            ceiling: reached,
            spent: after.since(&between, bench.stack.process()),
            subject: measured,
            disturbed,
        };
        let told = format!("  {:.0}/s of {reached:.0}/s", pair.subject.rate());
        if disturbed && tried < 2 * wanted {
            eprintln!(
                "{told}, thrown away: other processes took {:.0} % of the machine",
                others * 100.0
            );
            continue;
        }
        eprintln!("{told}");
        anyhow::ensure!(
            pair.subject.failed.is_empty(),
            "answers were wrong: {:?}",
            pair.subject.failed
        );
        // A hiccup of the machine may fill the line for a moment; more than that is no measurement.
        let (shed, answered) = (pair.subject.shed, pair.subject.answers.len() as u64);
        anyhow::ensure!(
            shed * 1_000 <= answered,
            "{shed} requests were refused beside {answered}: {:?}",
            pair.subject.told
        );
        kept.push(pair);
        if kept.len() >= wanted || tried >= 2 * wanted {
            return Ok(kept);
        }
    }
    unreachable!("the numbers do not end")
}

/// pgbench as a ceiling: the transaction that every statement of ours has around it, in the three round trips that it takes.
async fn of_pgbench(bench: &Bench, options: &Options, subject: &Subject, statements: &[String]) -> Result<Vec<Pair>> {
    let scripts = Script(statements.iter().map(|statement| folded(bench, statement)).collect());
    pairs(bench, options, subject, |period| {
        let ran = run_pgbench(bench, &scripts, period);
        async move { ran }
    })
    .await
}

fn run_pgbench(bench: &Bench, scripts: &Script, period: Duration) -> Result<f64> {
    let program = pgbench::find()?.context("there is no pgbench here: install PostgreSQL's client programs")?;
    let url = bench.stack.as_role("app_tenant")?;
    let folder = bench.stack.folder();
    tokio::task::block_in_place(|| pgbench::run(&program, url.as_str(), folder, scripts, CONNECTIONS, period))
}

/// The opening in one message, the statement, the commit.
fn folded(bench: &Bench, statement: &str) -> String {
    let (workspace, key) = (&bench.workspace, &bench.key_id);
    format!(
        "\\startpipeline
BEGIN READ ONLY;
SELECT set_config('statement_timeout', '1500', true), set_config('lock_timeout', '1000', true), set_config('app.workspace', '{workspace}', true), set_config('app.actor', 'api_key:{key}', true), set_config('app.reseller', 'none', true), set_config('app.customer', 'none', true);
\\endpipeline
{statement};
COMMIT;
"
    )
}

/// The context as a statement brings it along that needs no transaction around it.
fn context(bench: &Bench) -> String {
    format!(
        "ARRAY['{}', 'api_key:{}', 'none', 'none', NULL]",
        bench.workspace, bench.key_id
    )
}

/// The same path against pgbench with the one statement that it really sends: the hardest ceiling that there is.
fn against_one(path: &'static str, bench: &Bench, options: &Options, pairs: &[Pair], one: Vec<String>) -> Result<Row> {
    let scripts = Script(one);
    let ran: Result<Vec<f64>> = pairs
        .iter()
        .map(|_| run_pgbench(bench, &scripts, options.period()))
        .collect();
    let (ceiling, rate) = (
        median(ran?),
        median(pairs.iter().map(|pair| pair.subject.rate()).collect()),
    );
    Ok(Row {
        path,
        what: "the same, of pgbench with the one statement that the path sends".into(),
        figure: format!("{rate:.0}/s of {ceiling:.0}/s: {:.2}", rate / ceiling),
        verdict: Verdict::Told,
    })
}

/// The ratio of the pairs, and what a request costs.
fn ratio(path: &'static str, what: &str, pairs: &[Pair], should: f64) -> Vec<Row> {
    let of = |of: &dyn Fn(&Pair) -> f64| median(pairs.iter().map(of).collect());
    let (rate, ceiling) = (of(&|pair| pair.subject.rate()), of(&|pair| pair.ceiling));
    let ratios = || pairs.iter().map(|pair| pair.subject.rate() / pair.ceiling);
    let ratio = median(ratios().collect());
    let (worst, best) = (ratios().fold(f64::MAX, f64::min), ratios().fold(0.0, f64::max));
    let disturbed = match pairs.iter().filter(|pair| pair.disturbed).count() {
        0 => String::new(),
        some => format!(", {some} of them disturbed"),
    };
    let per_thousand = |seconds: f64, pair: &Pair| 1_000.0 * seconds / pair.subject.answers.len() as f64;
    let server = of(&|pair| per_thousand(pair.spent.server, pair));
    let children = of(&|pair| per_thousand(pair.spent.children, pair));
    let (middle, late) = (
        of(&|pair| pair.subject.quantile(0.5)),
        of(&|pair| pair.subject.quantile(0.99)),
    );
    vec![
        Row {
            path,
            what: what.to_owned(),
            figure: format!(
                "{rate:.0}/s of {ceiling:.0}/s; of {} pairs {worst:.2} to {best:.2}{disturbed}",
                pairs.len()
            ),
            verdict: Verdict::AtLeast(ratio, should),
        },
        Row {
            path,
            what: "latency at that rate, p50 and p99".into(),
            figure: format!("{middle:.2} ms, {late:.2} ms"),
            verdict: Verdict::Told,
        },
        Row {
            path,
            what: "CPU for 1,000 requests: server; PostgreSQL and Redis".into(),
            figure: format!("{server:.3} s; {children:.3} s"),
            verdict: Verdict::Told,
        },
    ]
}

/// The latency at half of what was reached, on a clock.
async fn half(path: &'static str, subject: &Subject, pairs: &[Pair], options: &Options) -> Result<Row> {
    let rate = median(pairs.iter().map(|pair| pair.subject.rate()).collect()) / 2.0;
    let patience = Duration::from_secs(1);
    let seen = load::open(subject, rate, CALLERS, options.period() * 2, patience).await?;
    let lost = seen.failures() + seen.shed + seen.unsent;
    anyhow::ensure!(lost == 0, "{lost} requests were not answered: {:?}", seen.failed);
    let (middle, late, last) = (seen.quantile(0.5), seen.quantile(0.99), seen.quantile(0.999));
    Ok(Row {
        path,
        what: format!("p99 at half that load, {rate:.0}/s on a clock"),
        figure: format!("p50 {middle:.2} ms, p99.9 {last:.2} ms"),
        verdict: Verdict::AtMost(late, 15.0, "ms"),
    })
}

/// Of an even number, the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    (figures[half] + figures[(figures.len() - 1) / 2]) / 2.0
}
