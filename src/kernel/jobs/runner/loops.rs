//! The loops of a worker: claim for each lane, promote, reap, recount, and the chores.

use std::{
    collections::VecDeque,
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Runner, spawn};
use crate::kernel::{
    error::Result,
    jobs::{Lane, queries},
    metrics,
};

/// At most so many jobs are claimed by one statement.
const BATCH: usize = 64;
/// So many lanes of the inbox are looked at at once.
const INBOX_AT_ONCE: usize = 4;
/// What is done now and then is done so soon after the start.
const SOON: Duration = Duration::from_secs(10);
/// A lane that had something is asked again so soon …
const SOONEST: Duration = Duration::from_millis(25);
/// … and one that had nothing for a while so late.
const LATEST: Duration = Duration::from_secs(1);

/// The loops, but for those that end by themselves.
pub(super) fn start(runner: &Arc<Runner>, draining: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let mut loops = Vec::new();
    for (&lane, &slots) in &runner.slots {
        let (runner, draining) = (runner.clone(), draining.clone());
        // Made once: what is at work when claiming fails keeps its places.
        let places = Arc::new(Semaphore::new(slots));
        loops.push(supervise(lane.name(), move || {
            claim(runner.clone(), lane, places.clone(), draining.clone())
        }));
    }
    loops.push(periodic("promote", Duration::from_millis(250), runner, promote));
    loops.push(periodic("reap", Duration::from_secs(5), runner, reap));
    loops.push(periodic("recount", Duration::from_secs(60), runner, recount));
    for (name, period, chore) in runner.chores.clone() {
        loops.push(supervise(name, move || {
            let chore = chore.clone();
            repeat(period, move || chore())
        }));
    }
    loops
}

/// Those that end by themselves when the process drains, and hold nothing then: the relay, and those that look at the inbox.
pub(super) fn start_ending(runner: &Runner, draining: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let relay = runner.relay.clone().map(|relay| {
        let draining = draining.clone();
        supervise("relay", move || {
            let (relay, draining) = (relay.clone(), draining.clone());
            async move { relay.run(draining).await }
        })
    });
    let inboxes = std::iter::repeat_n(runner.inbox.clone(), INBOX_AT_ONCE).flatten();
    let looks = inboxes.map(|inbox| {
        let draining = draining.clone();
        supervise("inbox", move || {
            let (inbox, draining) = (inbox.clone(), draining.clone());
            async move {
                inbox.run(draining).await;
                Ok(())
            }
        })
    });
    relay.into_iter().chain(looks).collect()
}

fn periodic<F>(
    name: &'static str,
    period: Duration,
    runner: &Arc<Runner>,
    round: impl Fn(Arc<Runner>) -> F + Clone + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = Result<()>> + Send,
{
    let runner = runner.clone();
    supervise(name, move || {
        let (runner, round) = (runner.clone(), round.clone());
        repeat(period, move || round(runner.clone()))
    })
}

/// Restarts a loop that fails. One that panics three times in a minute takes the process with it: something is wrong that a restart of the
/// loop does not mend.
fn supervise<F>(name: &'static str, mut round: impl FnMut() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = Result<()>> + Send,
{
    tokio::spawn(async move {
        let mut panics: VecDeque<Instant> = VecDeque::new();
        loop {
            match AssertUnwindSafe(round()).catch_unwind().await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(name, %error, "a worker's loop failed; it begins anew"),
                Err(_) => {
                    tracing::error!(name, "a worker's loop panicked");
                    metrics::PANICS.with_label_values(&["worker"]).inc();
                    panics.push_back(Instant::now());
                    panics.retain(|at| at.elapsed() < Duration::from_secs(60));
                    if panics.len() >= 3 {
                        tracing::error!(name, "three panics in a minute: the process ends");
                        std::process::exit(70);
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

async fn repeat<F: Future<Output = Result<()>>>(period: Duration, mut round: impl FnMut() -> F) -> Result<()> {
    for wait in waits(period) {
        tokio::time::sleep(spread(wait)).await;
        round().await?;
    }
    Ok(())
}

/// How long to wait before each round. The first comes soon, whatever the period: a worker may be started anew more often than once in it, and
/// what failed wants to be made good.
fn waits(period: Duration) -> impl Iterator<Item = Duration> {
    std::iter::once(period.min(SOON)).chain(std::iter::repeat(period))
}

/// Claims while there are free places. Ends when the process drains.
async fn claim(
    runner: Arc<Runner>,
    lane: Lane,
    places: Arc<Semaphore>,
    mut draining: watch::Receiver<bool>,
) -> Result<()> {
    let wakes = runner.db.wakes().clone();
    let mut pause = SOONEST;
    while !*draining.borrow() {
        let first = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the places are never closed"),
            _ = draining.changed() => continue,
        };
        let batch = (places.available_permits() + 1).min(BATCH);
        drop(first);
        let claimed = runner.claim(lane, batch).await?;
        let full = claimed.len() == batch;
        pause = if claimed.is_empty() {
            (pause * 2).min(LATEST)
        } else {
            SOONEST
        };
        for job in claimed {
            let place = places
                .clone()
                .acquire_owned()
                .await
                .expect("the places are never closed");
            spawn(&runner, job, place);
        }
        if !full {
            tokio::select! {
                () = wakes.wait(lane.signal()) => pause = SOONEST,
                () = tokio::time::sleep(spread(pause)) => {}
                _ = draining.changed() => {}
            }
        }
    }
    Ok(())
}

async fn promote(runner: Arc<Runner>) -> Result<()> {
    runner
        .unscoped("jobs.promote", |tx| {
            for (lane, _) in queries::promote(tx.conn())? {
                tx.wake(lane.signal());
            }
            Ok(())
        })
        .await
}

async fn reap(runner: Arc<Runner>) -> Result<()> {
    runner
        .unscoped("jobs.reap", |tx| {
            for (lane, n) in queries::reap(tx.conn())? {
                tracing::warn!(lane = lane.name(), n, "leases ran out; their jobs are queued again");
                metrics::LEASE_EXPIRED.inc_by(n.max(0) as u64);
                tx.wake(lane.signal());
            }
            Ok(())
        })
        .await
}

async fn recount(runner: Arc<Runner>) -> Result<()> {
    let drifted = runner
        .unscoped("jobs.drift", |tx| Ok(queries::drift(tx.conn())?))
        .await?;
    for slot in drifted {
        runner
            .unscoped("jobs.recount", move |tx| {
                let (ready, running) = queries::recount(tx.conn(), &slot)?;
                for (counter, wrong) in [("ready", ready), ("running", running)] {
                    if wrong != 0 {
                        tracing::error!(lane = slot.lane, counter, wrong, "a counter of the queue had drifted");
                        metrics::COUNTER_DRIFT.with_label_values(&[counter]).inc();
                    }
                }
                Ok(())
            })
            .await?;
    }
    let waiting = runner
        .unscoped("jobs.waiting", |tx| Ok(queries::waiting(tx.conn())?))
        .await?;
    metrics::QUEUE_READY.reset();
    metrics::QUEUE_OLDEST.reset();
    for kind in waiting {
        metrics::QUEUE_READY.with_label_values(&[&kind.kind]).set(kind.ready);
        metrics::QUEUE_OLDEST
            .with_label_values(&[&kind.kind])
            .set(kind.oldest_seconds as i64);
    }
    Ok(())
}

/// A duration within 20 % of this one, so that processes do not march in step.
pub(super) fn spread(duration: Duration) -> Duration {
    let random = (Uuid::new_v4().as_u128() & 0xffff) as f64 / 65_535.0;
    duration.mul_f64(0.8 + 0.4 * random)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_is_seldom_done_is_done_soon_after_each_start() {
        let of = |seconds| {
            waits(Duration::from_secs(seconds))
                .map(|wait| wait.as_secs())
                .take(3)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(3_600), [10, 3_600, 3_600]);
        assert_eq!(of(2), [2, 2, 2]);
    }

    #[tokio::test]
    async fn a_round_that_fails_ends_the_loop_which_begins_anew() {
        let rounds = Arc::new(AtomicU32::new(0));
        let counted = rounds.clone();
        let round = move || {
            let result = match counted.fetch_add(1, Ordering::Relaxed) {
                2 => Err(anyhow::anyhow!("it fails").into()),
                _ => Ok(()),
            };
            std::future::ready(result)
        };
        let goes_on = supervise("test", move || repeat(Duration::from_millis(1), round.clone()));
        let many = async {
            while rounds.load(Ordering::Relaxed) < 5 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let many = tokio::time::timeout(Duration::from_secs(30), many).await;
        goes_on.abort();
        many.expect("it began anew");
    }
}
