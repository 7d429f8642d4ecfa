//! `guildhall doctor`: looks at everything that a deployment stands on, and says what to do about what is wrong.

use anyhow::{Result, bail};
use chrono::Duration;

use crate::{
    app::{
        boot::{self, Deployment},
        cli,
        guard::{self, told},
        migrate,
    },
    kernel::{
        catalogue::{self, Depth, Severity},
        clock::Clock,
        config::Config,
        db::{self, Db, Sizes},
        error::Error,
        keks,
        redis::{Redis, State},
        secret::Secret,
        vitals::{self, Vitals},
    },
};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Look,
    Wrong,
}

/// One line of the report, and what to do about it.
struct Line {
    verdict: Verdict,
    says: String,
    fix: Option<String>,
}

impl Line {
    fn fine(says: impl Into<String>) -> Line {
        Line {
            verdict: Verdict::Fine,
            says: says.into(),
            fix: None,
        }
    }

    fn look(says: impl Into<String>, fix: impl Into<String>) -> Line {
        Line {
            verdict: Verdict::Look,
            says: says.into(),
            fix: Some(fix.into()),
        }
    }

    fn wrong(says: impl Into<String>, fix: impl Into<String>) -> Line {
        Line {
            verdict: Verdict::Wrong,
            ..Line::look(says, fix)
        }
    }
}

/// Looks and prints. `rows` also counts rows that point at nothing, which reads whole tables.
///
/// # Errors
/// Something is wrong: the report on standard output says what.
pub fn run(config: &Config, rows: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut lines = vec![runtime.block_on(async { configuration(config) })];
    lines.extend(runtime.block_on(database(config)));
    lines.push(runtime.block_on(redis(config)));
    if rows {
        lines.push(orphans(config));
    }
    let mut report = String::new();
    for line in &lines {
        let mark = match line.verdict {
            Verdict::Fine => "ok   ",
            Verdict::Look => "look ",
            Verdict::Wrong => "WRONG",
        };
        report += &format!("{mark}  {}\n", line.says);
        if let Some(fix) = &line.fix {
            report += &format!("       → {fix}\n");
        }
    }
    cli::print(report.as_bytes())?;
    let wrong = lines.iter().filter(|line| line.verdict == Verdict::Wrong).count();
    match wrong {
        0 => Ok(()),
        1 => bail!("one thing is wrong"),
        more => bail!("{more} things are wrong"),
    }
}

/// Does what `serve` does with it before it reaches anything.
fn configuration(config: &Config) -> Line {
    let usable = || match doors(config) {
        Ok(_) => Deployment::new(config.clone(), Clock::system()).map(drop),
        // That is said of the database.
        Err(_) => Ok(()),
    };
    match config.refuse_unsafe().and_then(|()| usable()) {
        Ok(()) => Line::fine("configuration: read, every key known, nothing unsafe for this environment"),
        Err(refused) => Line::wrong(
            format!("{refused:#}"),
            "`serve` and `worker` refuse to start with it: change the key, or its variable GUILDHALL__SECTION__KEY.",
        ),
    }
}

/// The addresses of both doors.
fn doors(config: &Config) -> Result<(Secret<String>, Secret<String>), Line> {
    let urls = (&config.database.tenant_url, &config.database.kernel_url);
    let (Some(tenant), Some(kernel)) = urls else {
        let fix = "`guildhall migrate bootstrap` makes the roles; it prints both URLs, without their passwords.";
        return Err(Line::wrong(
            "database: DATABASE_TENANT_URL or DATABASE_KERNEL_URL is not set",
            fix,
        ));
    };
    db::address("DATABASE_TENANT_URL", tenant)
        .and_then(|tenant| Ok((tenant, db::address("DATABASE_KERNEL_URL", kernel)?)))
        .map_err(|wrong| Line::wrong(format!("database: {wrong}"), "Correct the variable."))
}

async fn database(config: &Config) -> Vec<Line> {
    let (tenant, kernel) = match doors(config) {
        Ok(urls) => urls,
        Err(line) => return vec![line],
    };
    let shut = guard::shut([&tenant, &kernel]).await;
    if !shut.is_empty() {
        let fix = "Is PostgreSQL up there, and does the role log in with this password?";
        let shut = shut.into_iter();
        return shut.map(|why| Line::wrong(format!("database: {why}"), fix)).collect();
    }
    let clock = Clock::system();
    let sizes = Sizes { tenant: 1, kernel: 1 };
    let db = Db::open(tenant, kernel, sizes, clock.clone());
    let mut lines = vec![Line::fine("database: both doors open")];
    let (isolation, is_migrated) = catalogue(&db, config.is_production()).await;
    lines.extend(isolation);
    if !is_migrated {
        return lines;
    }
    lines.extend(keks(&db, config).await);
    match vitals::read(&db).await {
        Ok(vitals) => lines.extend(judge(&vitals, &clock)),
        Err(error) => lines.push(Line::wrong(
            format!("queues: they cannot be read ({})", told(&error)),
            "Run `guildhall migrate up`.",
        )),
    }
    lines
}

/// What is said of the catalogue, and whether what is to be looked at next is there.
async fn catalogue(db: &Db, production: bool) -> (Vec<Line>, bool) {
    let report = match catalogue::check(db, migrate::newest(), Depth::Full).await {
        Ok(report) => report,
        Err(error) => {
            let says = format!("isolation: the catalogue cannot be read ({})", told(&error));
            return (vec![Line::wrong(says, "Is this PostgreSQL 15 or newer?")], false);
        }
    };
    if report.findings.is_empty() {
        let says = "isolation: roles, row-level security, policies, grants, keys and code are as the registry says";
        return (vec![Line::fine(says)], true);
    }
    let is_migrated = report.findings.iter().all(|finding| finding.rule != catalogue::SCHEMA);
    let lines = report.findings.iter().map(|finding| {
        let says = format!("isolation, rule {}: {}: {}", finding.rule, finding.object, finding.what);
        match finding.severity {
            Severity::Refuse => Line::wrong(says, &finding.fix),
            Severity::RefuseInProduction if production => Line::wrong(says, &finding.fix),
            Severity::RefuseInProduction | Severity::Warn => Line::look(says, &finding.fix),
        }
    });
    (lines.collect(), is_migrated)
}

/// The key-encryption keys in use, and whether they are there.
async fn keks(db: &Db, config: &Config) -> Vec<Line> {
    // One that cannot be read is said of the configuration.
    let Ok(keyring) = boot::keyring(config) else {
        return Vec::new();
    };
    let unread = |error: &Error| {
        let says = format!("key-encryption keys: they cannot be read ({})", told(error));
        vec![Line::wrong(says, "Run `guildhall migrate up`.")]
    };
    let entered = match keks::entered(db).await {
        Ok(entered) => entered,
        Err(error) => return unread(&error),
    };
    if entered.iter().all(|kek| kek == keyring.current()) {
        let says = match entered.is_empty() {
            true => "key-encryption keys: none is in use yet".to_owned(),
            false => format!("key-encryption keys: {} alone is in use", keyring.current()),
        };
        return vec![Line::fine(says)];
    }
    let uses = match keks::list(db, &super::keks::parts()).await {
        Ok(uses) => uses,
        Err(error) => return unread(&error),
    };
    let lines = uses.iter().filter(|one| one.kek != keyring.current()).map(|one| {
        let places = one.records.iter().map(|(column, records)| format!("{records} in {column}"));
        let places: Vec<String> = places.collect();
        let records = match places.is_empty() {
            true => "no record yet".to_owned(),
            false => places.join(", "),
        };
        match keyring.has(&one.kek) {
            true => Line::look(
                format!("key-encryption keys: {} is in use beside the current one: {records}", one.kek),
                format!(
                    "`guildhall admin keks rewrap` moves its records to {}, and says when it can go.",
                    keyring.current()
                ),
            ),
            false => Line::wrong(
                format!("key-encryption keys: {} is in use, and not among secrets.keks: {records}", one.kek),
                "`serve` and `worker` refuse to start without it: add it behind the current one. If it is gone for good, so is what is \
                 sealed under it.",
            ),
        }
    });
    lines.collect()
}

/// How far the two clocks may be apart: half of what a token's times are forgiven.
const DRIFT: Duration = Duration::seconds(15);

fn judge(vitals: &Vitals, clock: &Clock) -> Vec<Line> {
    let apart = (clock.now() - vitals.now).abs();
    let mut lines = vec![match apart <= DRIFT {
        true => Line::fine(format!("clock: {} ms from the database's", apart.num_milliseconds())),
        false => Line::wrong(
            format!(
                "clock: {} s from the database's, so tokens expire early or late",
                apart.num_seconds()
            ),
            "Let both machines follow an NTP server.",
        ),
    }];
    let (waiting, oldest) = vitals.events;
    let behind = oldest.map_or(Duration::zero(), |due| vitals.now - due);
    lines.push(match behind > Duration::minutes(1) {
        false => Line::fine(format!("events: {waiting} on their way")),
        true => Line::wrong(
            format!("events: {waiting} wait, the oldest for {} s", behind.num_seconds()),
            "Is a `guildhall worker` running? Its log says what the relay could not hand on.",
        ),
    });
    if vitals.dead_events > 0 {
        lines.push(Line::look(
            format!("events: {} could not be handed on in ten tries", vitals.dead_events),
            "Table outbox_dead says which consumer refused them and why.",
        ));
    }
    let (ready, running) = vitals.jobs;
    lines.push(Line::fine(format!("jobs: {ready} ready, {running} running")));
    if vitals.lost_leases > 0 {
        lines.push(Line::wrong(
            format!(
                "jobs: {} have a worker that is gone, and nobody takes them back",
                vitals.lost_leases
            ),
            "Is a `guildhall worker` running? It takes them back within seconds.",
        ));
    }
    lines.extend(partitions(vitals));
    lines
}

fn partitions(vitals: &Vitals) -> Vec<Line> {
    let strays = vitals.strays.iter().filter(|(_, rows)| *rows > 0);
    let lines: Vec<Line> = strays
        .map(|(table, rows)| {
            let says = format!("partitions: about {rows} rows of {table} are in {table}_default, for there was no other");
            let fix = "Is a `guildhall worker` running? It makes partitions months ahead, and moves what came of a month before its \
                       own was there; what is of months that are over stays.";
            Line::look(says, fix)
        })
        .collect();
    match lines.is_empty() {
        true => vec![Line::fine("partitions: every row is in one of its own")],
        false => lines,
    }
}

async fn redis(config: &Config) -> Line {
    let url = config.redis_url().map(|url| url.expose().as_str());
    let off = "without it, limits count per process and hints wait for a poll";
    match Redis::open(url, &config.redis.prefix, config.redis.budget()) {
        Err(error) => Line::wrong(format!("Redis: {error:#}"), "Correct REDIS_URL, or set it to `off`."),
        Ok(redis) => match patiently(&redis).await {
            State::Off => Line::look(format!("Redis: off; {off}"), "Set REDIS_URL for more than one process."),
            State::Up => Line::fine("Redis: answers"),
            State::Down => Line::wrong(
                format!("Redis: does not answer; {off}"),
                "Is it up, and is REDIS_URL right?",
            ),
        },
    }
}

/// Whoever asks only how it stands has more time than a request, which goes on without it. The pauses are longer than those after which it
/// would be left alone.
async fn patiently(redis: &Redis) -> State {
    for _ in 0..4 {
        match redis.check().await {
            State::Down => tokio::time::sleep(std::time::Duration::from_millis(600)).await,
            known => return known,
        }
    }
    redis.check().await
}

fn orphans(config: &Config) -> Line {
    let Some(url) = config.database.migrator_url.as_ref().map(Secret::expose) else {
        return Line::wrong(
            "rows: DATABASE_MIGRATOR_URL is not set",
            "Only a role that sees every row can count.",
        );
    };
    match migrate::orphans(url) {
        Err(error) => Line::wrong(
            format!("rows: they could not be counted ({error:#})"),
            "Is the URL the migrator's?",
        ),
        Ok(orphans) if orphans.is_empty() => Line::fine("rows: every reference leads somewhere"),
        Ok(orphans) => {
            let found = orphans
                .iter()
                .map(|found| format!("{} in {} by {}", found.rows, found.table, found.constraint));
            let found: Vec<String> = found.collect();
            Line::wrong(
                format!("rows: some point at nothing: {}", found.join(", ")),
                "Restore what they point at, or remove them; then find out which import or restore brought them.",
            )
        }
    }
}
