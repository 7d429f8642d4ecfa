//! The leases of this process, and the thread that keeps them. It is not a task: a runtime that is busy must not look dead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use diesel::PgConnection;
use tokio::{sync::watch, task::AbortHandle};
use uuid::Uuid;

use super::context::Stop;
use crate::kernel::{
    db::Db,
    id::JobId,
    jobs::{Job, queries},
};

/// Leases are renewed this often …
const BEAT: Duration = Duration::from_secs(10);
/// … and cancellations are looked for this often.
const LOOK: Duration = Duration::from_secs(1);
/// A lease that was not renewed for so long is given up here, 10 s before anybody else can have it.
const GIVEN_UP: Duration = Duration::from_secs(20);

/// The leases of this process.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<(JobId, i64), Lease>>);

struct Lease {
    job: Job,
    stop: Arc<watch::Sender<Stop>>,
    task: Option<AbortHandle>,
    /// When the statement began that made the lease or renewed it last.
    renewed: Instant,
}

impl Held {
    /// Notes a lease that a statement begun at `since` made. What it answers hears when to stop.
    pub(super) fn take(&self, job: &Job, since: Instant) -> watch::Receiver<Stop> {
        let (tell, stop) = watch::channel(Stop::No);
        let lease = Lease {
            job: job.clone(),
            stop: Arc::new(tell),
            task: None,
            renewed: since,
        };
        self.all().insert((job.id, job.epoch), lease);
        stop
    }

    /// Names the task that does the job.
    pub(super) fn done_by(&self, job: &Job, task: AbortHandle) {
        if let Some(lease) = self.all().get_mut(&(job.id, job.epoch)) {
            lease.task = Some(task);
        }
    }

    /// Forgets a lease.
    pub(super) fn release(&self, job: &Job) {
        self.all().remove(&(job.id, job.epoch));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    /// Tells every handler, unless it was told something graver.
    pub(super) fn tell_all(&self, stop: Stop) {
        for lease in self.all().values() {
            lease.tell(stop);
        }
    }

    /// Ends every task where it stands.
    pub(super) fn abort_all(&self) {
        for lease in self.all().values() {
            if let Some(task) = &lease.task {
                task.abort();
            }
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<(JobId, i64), Lease>> {
        self.0.lock().expect("no panic while leases are noted")
    }

    /// What one renewal found: `known` are the leases that were noted before it began at `since`.
    fn renewed(&self, since: Instant, known: &[(JobId, i64)], found: &[queries::Beat]) {
        let mut all = self.all();
        for key in known {
            let Some(lease) = all.get_mut(key) else { continue };
            match found.iter().find(|beat| (beat.job_id, beat.epoch) == *key) {
                Some(beat) => {
                    if beat.renewed {
                        lease.renewed = since;
                    }
                    if beat.cancel {
                        lease.tell(Stop::Cancelled);
                    }
                }
                // The handler knows, or finds out: its own commit may be why the lease is gone.
                None if lease.may_have_ended() => {}
                None => lease.lose("somebody else has it"),
            }
        }
    }

    fn cancelled(&self, found: &[queries::Beat]) {
        let all = self.all();
        for beat in found {
            if let Some(lease) = all.get(&(beat.job_id, beat.epoch)) {
                lease.tell(Stop::Cancelled);
            }
        }
    }

    /// Gives up what could not be renewed for too long.
    fn give_up(&self) {
        for lease in self.all().values() {
            if lease.renewed.elapsed() > GIVEN_UP && !lease.may_have_ended() {
                lease.lose("it could not be renewed");
            }
        }
    }

    fn known(&self) -> Vec<(JobId, i64)> {
        self.all().keys().copied().collect()
    }
}

impl Lease {
    fn tell(&self, what: Stop) {
        self.stop.send_if_modified(|stop| {
            let graver = (what as u8) > (*stop as u8);
            if graver {
                *stop = what;
            }
            graver
        });
    }

    /// True if it is gone, or may be, because its own job ended.
    fn may_have_ended(&self) -> bool {
        self.job.is_settled() || self.job.may_have_ended()
    }

    fn lose(&self, why: &str) {
        if *self.stop.borrow() != Stop::Lost {
            tracing::warn!(kind = self.job.kind, job = ?self.job.id, epoch = self.job.epoch, why, "a lease was lost; its job is dropped here");
            self.tell(Stop::Lost);
        }
    }
}

/// The thread that renews. Ends when it is dropped.
pub(super) struct Heart {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    pub(super) fn start(db: Db, held: Arc<Held>, worker: Uuid) -> std::io::Result<Heart> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("lease-heart".into())
            .spawn(move || beat(&db, &held, worker, &stopped))?;
        Ok(Heart {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the lease heart panicked");
        }
    }
}

fn beat(db: &Db, held: &Held, worker: Uuid, stopped: &mpsc::Receiver<()>) {
    let mut link: Option<PgConnection> = None;
    let mut last = Instant::now();
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
        if held.count() == 0 {
            last = Instant::now();
            continue;
        }
        let renew = last.elapsed() >= BEAT;
        if link.is_none() {
            link = db.lifeline().ok();
        }
        if let Some(conn) = &mut link {
            match tick(conn, held, worker, renew) {
                Ok(()) if renew => last = Instant::now(),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "leases could not be looked after; trying again on a new connection");
                    link = None;
                }
            }
        }
        held.give_up();
    }
}

fn tick(conn: &mut PgConnection, held: &Held, worker: Uuid, renew: bool) -> diesel::QueryResult<()> {
    if renew {
        let (known, since) = (held.known(), Instant::now());
        let jobs: Vec<JobId> = known.iter().map(|(job, _)| *job).collect();
        let found = queries::heartbeat(conn, worker, &jobs)?;
        held.renewed(since, &known, &found);
    } else {
        held.cancelled(&queries::cancelled(conn, worker)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{id::WorkspaceId, jobs::Lane};

    #[test]
    fn a_lease_that_nobody_could_renew_is_given_up() {
        let held = Held::default();
        let id = JobId(Uuid::from_u128(1));
        let job = Job::new(id, "test", Lane::System, WorkspaceId::PLATFORM, id.0, 7, 0);
        let long_ago = Instant::now()
            .checked_sub(GIVEN_UP * 2)
            .expect("a machine that is up for a minute");
        let stop = held.take(&job, long_ago);
        let beat = |renewed| queries::Beat {
            job_id: id,
            epoch: 7,
            cancel: false,
            renewed,
        };
        // It is there still, and somebody's transaction holds its row.
        held.renewed(Instant::now(), &[(id, 7)], &[beat(false)]);
        assert!(held.all()[&(id, 7)].renewed == long_ago, "a renewal that was not made");
        held.renewed(Instant::now(), &[(id, 7)], &[beat(true)]);
        held.give_up();
        assert_eq!(*stop.borrow(), Stop::No);

        let stop = held.take(&job, long_ago);
        held.renewed(Instant::now(), &[(id, 7)], &[beat(false)]);
        held.give_up();
        assert_eq!(*stop.borrow(), Stop::Lost);
    }

    #[test]
    fn a_lease_that_nobody_could_renew_is_kept_where_its_job_may_have_ended() {
        let held = Held::default();
        let id = JobId(Uuid::from_u128(1));
        let long_ago = Instant::now()
            .checked_sub(GIVEN_UP * 2)
            .expect("a machine that is up for a minute");
        for ended in [false, true] {
            let job = Job::new(id, "test", Lane::System, WorkspaceId::PLATFORM, id.0, 7, 0);
            let stop = held.take(&job, long_ago);
            if ended {
                // As by a transaction of whose commit nobody hears.
                job.settle();
                job.unsettle();
            }
            held.give_up();
            assert_eq!(*stop.borrow(), if ended { Stop::No } else { Stop::Lost });
        }
    }

    #[test]
    fn a_lease_that_is_gone_is_lost_unless_the_job_may_have_given_it_up() {
        let held = Held::default();
        let id = JobId(Uuid::from_u128(1));
        for ended in [false, true] {
            let job = Job::new(id, "test", Lane::System, WorkspaceId::PLATFORM, id.0, 7, 0);
            let stop = held.take(&job, Instant::now());
            if ended {
                // As by a transaction of whose commit nobody hears.
                job.settle();
                job.unsettle();
            }
            held.renewed(Instant::now(), &[(id, 7)], &[]);
            assert_eq!(*stop.borrow(), if ended { Stop::No } else { Stop::Lost });
        }
    }
}
