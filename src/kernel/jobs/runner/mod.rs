//! Claims jobs and has them done. Every loop is supervised; none of them is needed for correctness but the claim: any process may promote
//! timers, reap lost leases and recount.

mod attempt;
mod context;
mod held;
mod loops;
#[cfg(feature = "lab")]
mod turns;

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use attempt::{Outcome, attempt};
pub use context::{JobContext, Stop};
use held::{Heart, Held};

use super::{Job, Lane, queries};
use crate::kernel::{
    access::Call,
    db::Db,
    entitlements::{self, Plan},
    error::Result,
    id::WorkspaceId,
    inbox, metrics,
    outbox::Relay,
};

type Work = Arc<dyn Fn(JobContext) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;
type Chore = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// Which kinds of job a process does. [`Runner::start`] begins.
pub struct Runner {
    db: Db,
    worker: Uuid,
    handlers: HashMap<&'static str, Handler>,
    slots: HashMap<Lane, usize>,
    chores: Vec<(&'static str, Duration, Chore)>,
    relay: Option<Arc<Relay>>,
    inbox: Option<inbox::Worker>,
    held: Arc<Held>,
    plans: moka::sync::Cache<WorkspaceId, Arc<Plan>>,
}

struct Handler {
    work: Work,
    dead: Option<Work>,
}

impl Runner {
    /// A runner that does nothing yet.
    pub fn new(db: Db) -> Runner {
        Runner {
            db,
            worker: Uuid::new_v4(),
            handlers: HashMap::new(),
            slots: HashMap::new(),
            chores: Vec::new(),
            relay: None,
            inbox: None,
            held: Arc::default(),
            plans: moka::sync::Cache::builder()
                .max_capacity(100_000)
                .time_to_live(Duration::from_secs(1))
                .build(),
        }
    }

    /// Does jobs of this kind, which wait in this lane. The handler ends its job with [`finish`](super::finish) or
    /// [`retry`](super::retry); one that breaks is called again, later each time, and given up after five times in a row.
    pub fn on<F>(&mut self, kind: &'static str, lane: Lane, work: impl Fn(JobContext) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.slots.entry(lane).or_insert(16);
        let work: Work = Arc::new(move |job| Box::pin(work(job)));
        self.handlers
            .entry(kind)
            .and_modify(|handler| handler.work = work.clone())
            .or_insert(Handler { work, dead: None });
    }

    /// What becomes of a job of this kind that was given up. Without it the job is dropped, and reported.
    pub fn when_given_up<F>(&mut self, kind: &'static str, work: impl Fn(JobContext) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        if let Some(handler) = self.handlers.get_mut(kind) {
            handler.dead = Some(Arc::new(move |job| Box::pin(work(job))));
        }
    }

    /// How many jobs of a lane this process does at once; 16 if nothing is said.
    pub fn at_once(&mut self, lane: Lane, slots: usize) {
        self.slots.insert(lane, slots.max(1));
    }

    /// Does a chore every so often, in every process: it must bear being done twice at once.
    pub fn every<F>(&mut self, period: Duration, name: &'static str, work: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.chores.push((name, period, Arc::new(move || Box::pin(work()))));
    }

    /// Relays events beside the jobs.
    pub fn relay(&mut self, relay: Relay) {
        let relay = Arc::new(relay);
        let measured = relay.clone();
        self.every(Duration::from_secs(15), "outbox.measure", move || {
            let relay = measured.clone();
            async move { relay.measure().await }
        });
        self.relay = Some(relay);
    }

    /// Looks at the lanes of the inbox beside the jobs.
    pub fn inbox(&mut self, worker: inbox::Worker) {
        self.inbox = Some(worker);
    }

    /// Starts the loops on this runtime.
    ///
    /// # Errors
    /// No thread can be made for the leases.
    pub fn start(self) -> std::io::Result<Worker> {
        let heart = Heart::start(self.db.clone(), self.held.clone(), self.worker)?;
        let (drain, draining) = watch::channel(false);
        let runner = Arc::new(self);
        let loops = loops::start(&runner, &draining);
        let ending = loops::start_ending(&runner, &draining);
        Ok(Worker {
            runner,
            drain,
            loops,
            ending,
            heart: Some(heart),
        })
    }

    /// Leases up to `batch` jobs of a lane, with their workspaces' plans.
    async fn claim(&self, lane: Lane, batch: usize) -> Result<Vec<(Job, watch::Receiver<Stop>, Arc<Plan>)>> {
        let since = Instant::now();
        let (worker, plans) = (self.worker, self.plans.clone());
        let claimed = self
            .unscoped("jobs.claim", move |tx| {
                let claimed = queries::claim(tx.conn(), lane, batch as i32, worker)?;
                claimed
                    .into_iter()
                    .map(|job| {
                        let plan = match plans.get(&job.workspace_id) {
                            Some(plan) => plan,
                            None => {
                                let plan = Arc::new(entitlements::load(tx.conn(), job.workspace_id)?);
                                plans.insert(job.workspace_id, plan.clone());
                                plan
                            }
                        };
                        Ok((job, plan))
                    })
                    .collect::<Result<Vec<_>>>()
            })
            .await?;
        let mut jobs = Vec::with_capacity(claimed.len());
        for (row, plan) in claimed {
            let kind = self.handlers.get_key_value(row.kind.as_str()).map(|(kind, _)| *kind);
            let job = Job::new(
                row.job_id,
                kind.unwrap_or(UNKNOWN),
                lane,
                row.workspace_id,
                row.group_id,
                row.epoch,
                row.recoveries,
            );
            let stop = self.held.take(&job, since);
            if kind.is_none() {
                tracing::warn!(
                    kind = row.kind,
                    "no handler for this kind of job: left for a newer process"
                );
            }
            jobs.push((job, stop, plan));
        }
        Ok(jobs)
    }

    /// Does one job and sees to what its handler left.
    async fn work(&self, job: Job, stop: watch::Receiver<Stop>, plan: Arc<Plan>) -> Outcome {
        let context = JobContext {
            db: self.db.clone(),
            job: job.clone(),
            plan,
            request_id: context::request_id(&self.db),
            stop,
        };
        let outcome = match self.handlers.get(job.kind) {
            None => Outcome::Unknown,
            Some(handler) if job.is_exhausted() => self.give_up(handler, context).await,
            Some(handler) => attempt(&handler.work, context).await,
        };
        metrics::JOBS.with_label_values(&[job.kind, outcome.name()]).inc();
        let lapse = match outcome {
            Outcome::Done | Outcome::Lost => None,
            Outcome::Busy => Some((Duration::from_secs(1), 0)),
            Outcome::Unknown => Some((Duration::from_secs(10), 0)),
            Outcome::Broken => Some((Duration::from_secs(1 << job.recoveries.clamp(0, 8)), 1)),
        };
        if let Some((delay, recoveries)) = lapse {
            self.lapse(&job, loops::spread(delay), recoveries).await;
        }
        self.held.release(&job);
        outcome
    }

    /// Ends the lease of a job that was not done. Where that fails, the lease runs out by itself.
    async fn lapse(&self, job: &Job, delay: Duration, recoveries: i32) {
        let lapsed = job.clone();
        let ended = self
            .unscoped("jobs.lapse", move |tx| {
                Ok(queries::lapse(tx.conn(), &lapsed, delay, recoveries)?)
            })
            .await;
        if let Err(error) = ended {
            tracing::warn!(%error, kind = job.kind, job = ?job.id, "a lease could not be given up; it will run out");
        }
    }

    async fn give_up(&self, handler: &Handler, context: JobContext) -> Outcome {
        let job = context.job.clone();
        tracing::error!(kind = job.kind, job = ?job.id, recoveries = job.recoveries, "a job is given up: its lease was lost too often");
        metrics::DEAD_LETTERS.with_label_values(&[job.kind]).inc();
        if let Some(dead) = &handler.dead {
            return attempt(dead, context).await;
        }
        let finished = self
            .unscoped("jobs.give_up", move |tx| {
                queries::enter(tx.conn(), job.workspace)?;
                Ok(queries::finish(tx.conn(), &job)?)
            })
            .await;
        if finished.is_ok() { Outcome::Done } else { Outcome::Busy }
    }

    async fn unscoped<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut crate::kernel::db::Kernel<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let call = Call::internal(operation, context::request_id(&self.db));
        self.db.unscoped(&call, work).await
    }
}

/// How long the relay and those who look at the inbox may take to give back what they have, how long giving back leases, and the heart's end.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// The kind of a job that this process has no handler for.
const UNKNOWN: &str = "unknown";

/// Does a claimed job on a task of its own, which keeps the lane's place until it is done.
fn spawn(runner: &Arc<Runner>, claimed: (Job, watch::Receiver<Stop>, Arc<Plan>), place: OwnedSemaphorePermit) {
    let (job, stop, plan) = claimed;
    let (working, named) = (runner.clone(), job.clone());
    let task = tokio::spawn(async move {
        working.work(job, stop, plan).await;
        drop(place);
    });
    runner.held.done_by(&named, task.abort_handle());
}

/// A runner at work.
pub struct Worker {
    runner: Arc<Runner>,
    drain: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
    /// The relay and those that look at the inbox. They end by themselves, and give back what they have.
    ending: Vec<JoinHandle<()>>,
    heart: Option<Heart>,
}

impl Worker {
    /// Stops claiming, waits until what it has is done or `patience` has passed, and puts the rest back into the queue.
    pub async fn drain(mut self, patience: Duration) {
        self.drain.send_replace(true);
        self.runner.held.tell_all(Stop::Draining);
        let until = Instant::now() + patience;
        while self.runner.held.count() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = tokio::time::timeout(GIVING_BACK, join_all(&mut self.ending)).await;
        self.abort();
        self.runner.held.tell_all(Stop::Lost);
        self.runner.held.abort_all();
        if tokio::time::timeout(GIVING_BACK, self.give_back()).await.is_err() {
            tracing::warn!("some leases were not given back; they will run out");
        }
        let heart = self.heart.take();
        let heart = tokio::task::spawn_blocking(move || drop(heart));
        // A statement that a database holds up is not waited for.
        let _ = tokio::time::timeout(GIVING_BACK, heart).await;
    }

    /// Goes on until none is left.
    async fn give_back(&self) {
        let worker = self.runner.worker;
        loop {
            let left = self
                .runner
                .unscoped("jobs.give_back", move |tx| {
                    for (lane, _) in queries::give_back(tx.conn(), worker)? {
                        tx.wake(lane.signal());
                    }
                    Ok(queries::leases(tx.conn(), worker)?)
                })
                .await;
            match left {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "leases could not be given back yet"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops at once and gives nothing back, as if the process had been killed.
    #[cfg(feature = "lab")]
    pub fn kill(mut self) {
        self.abort();
        self.runner.held.abort_all();
    }

    fn abort(&mut self) {
        for task in self.loops.drain(..).chain(self.ending.drain(..)) {
            task.abort();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.abort();
        self.runner.held.abort_all();
    }
}
