//! The admission gate: how much is done at once. Each class has as many threads as its part of the connections, so that no thread waits
//! for one, and a permit lives as long as the *work*, not as long as the request: it moves into the closure that blocks.
//!
//! A request takes a [`Place`] before anything is spent on it. There are as many places as permits and room in line; whoever finds none
//! is refused at once, and whoever has one is never refused for lack of room again, however often it passes the gate.

mod place;
mod porch;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::{Histogram, IntCounter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::{
    place::{Place, Spent},
    work::{Late, Permit, Work},
};
use self::{porch::Porch, work::Threads};
use crate::kernel::{
    access::{Call, Class, Scope},
    error::{DEADLINE_EXCEEDED, OVERLOADED, Outcome, Problem},
    id::WorkspaceId,
    metrics,
};

/// How much of one class is done at once, and how long others wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How many work at once.
    pub permits: usize,
    /// How many may wait.
    pub line: usize,
    /// How long one without a place waits at most. One with a place waits for as long as its work may take.
    pub longest: Duration,
}

/// All classes' rooms.
pub struct Gate {
    credential: Arc<Hall>,
    account: Arc<Hall>,
    password: Arc<Hall>,
    ingress: Arc<Hall>,
    interactive: Arc<Hall>,
    long: Arc<Hall>,
    cpu: Arc<Hall>,
    job: Arc<Hall>,
    porch: Porch,
    began: Instant,
    /// The second in which it was last said that there is no room.
    spoke: AtomicU64,
}

struct Hall {
    room: Room,
    threads: Threads,
    /// How many stand ready in the line of the threads, and are begun by whoever is done.
    next: usize,
    /// Permits that nobody has: one for each thread, and for each who is next.
    free: Arc<Semaphore>,
    /// Places that are taken.
    inside: AtomicUsize,
    waiting: AtomicUsize,
    /// How many places each workspace has.
    shares: Mutex<HashMap<WorkspaceId, usize>>,
    waits: Histogram,
    full: IntCounter,
    late: IntCounter,
    greedy: IntCounter,
}

/// There is no place. The answer to it is always the same: 503 `overloaded`, `reason: line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl From<Full> for Problem {
    fn from(_: Full) -> Problem {
        OVERLOADED.with("reason", "line").outcome(Outcome::None)
    }
}

impl Gate {
    /// The rooms of a process with this many tenant and kernel connections for requests, on a machine with so many cores.
    pub fn new(tenant: usize, kernel: usize, cores: usize) -> Gate {
        let ms = Duration::from_millis;
        let long = (tenant / 5).max(1);
        let interactive = tenant.saturating_sub(long).max(1);
        let ingress = (kernel / 5).max(1);
        let account = (kernel * 2 / 5).max(1);
        let credential = kernel.saturating_sub(ingress + account).max(1);
        let hall = |class, permits, line, longest| Arc::new(Hall::new(class, Room { permits, line, longest }));
        Gate {
            credential: hall(Class::Credential, credential, 16, ms(200)),
            account: hall(Class::Account, account, 16, ms(300)),
            password: hall(Class::Password, cores, 8 * cores, ms(2_000)),
            ingress: hall(Class::Ingress, ingress, 64, ms(1_000)),
            interactive: hall(Class::Interactive, interactive, 2 * interactive, ms(300)),
            long: hall(Class::Long, long, 8, ms(2_000)),
            cpu: hall(Class::Cpu, cores.saturating_sub(1).max(1), 8, ms(1_000)),
            job: hall(Class::Job, tenant, 256, ms(30_000)),
            porch: Porch::of(cores),
            began: Instant::now(),
            spoke: AtomicU64::new(0),
        }
    }

    /// Takes a place for a request of this class, before anything is spent on it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn admit(&self, class: Class) -> Result<Arc<Place>, Full> {
        self.hall(class).admit().map(Arc::new)
    }

    /// Lets a refusal wait before it leaves. Whoever is refused at once asks again at once, and to refuse ten thousand times a second would
    /// leave nothing for those who were let in: so refusals leave at a measured pace. Not at all until there are many.
    pub async fn wait_on_the_porch(&self) {
        let pause = self.porch.pause();
        if pause >= Duration::from_millis(1) {
            tokio::time::sleep(pause).await;
        } else {
            // A body that came with its head is taken in meanwhile: the connection can be used again.
            tokio::task::yield_now().await;
        }
    }

    /// True once a second: a line for each refusal would be one more thing to do when there is too much.
    pub fn may_speak(&self) -> bool {
        let now = self.began.elapsed().as_secs() + 1;
        self.spoke.swap(now, Ordering::Relaxed) != now
    }

    /// Waits in line for leave to work. Leaving the line (the caller went away) is free. A call that has a place waits for as long as
    /// its deadline allows.
    ///
    /// # Errors
    /// 503 `overloaded` when the deadline is too near, and for a call without a place when there is none or the wait was too long; 429
    /// `rate-limited` when its workspace wants more than its share while others are here.
    pub async fn enter(&self, call: &Call, workspace: Option<WorkspaceId>) -> Result<Permit, Problem> {
        let came = Instant::now();
        // Passwords have a line of their own, and what is done around them is an account's business.
        let hall = match call.class {
            Class::Password => &self.account,
            class => self.hall(class),
        };
        let admitted = call.place.as_ref().is_some_and(|place| place.is_inside());
        let place = match admitted {
            true => None,
            false => Some(hall.admit()?),
        };
        if let (Some(place), Some(workspace)) = (&place, workspace) {
            place.belong_to(workspace)?;
        }
        // What is computed asks no database: neither its time nor its line is the database's.
        let worker = call.place.clone().filter(|_| call.class != Class::Cpu);
        let permit = match hall.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let patience = match admitted {
                    // However long its caller is ready to wait for something else.
                    true => call.time_left().min(call.class.time()),
                    false => call.time_left().min(hall.room.longest),
                };
                hall.wait(came, patience, worker.as_deref()).await?
            }
        };
        Ok(Permit {
            hall: Arc::clone(hall),
            came,
            worker,
            _permit: permit,
            _place: place,
        })
    }

    /// Turns to hash passwords.
    pub fn turns(&self) -> Arc<Semaphore> {
        self.password.free.clone()
    }

    /// Computes something that keeps a processor busy, on a thread that may be kept busy.
    ///
    /// # Errors
    /// As [`Gate::enter`].
    pub async fn compute<T: Send + 'static>(
        &self,
        scope: &Scope,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.enter(scope.call(), Some(scope.workspace())).await?;
        let late = |_| Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None);
        permit.work(work).within(None).await.map_err(late)
    }

    /// What each class has, in use and waiting: for the metrics.
    pub fn gauges(&self) -> impl Iterator<Item = (Class, Room, usize, usize)> {
        Class::ALL.into_iter().map(|class| {
            let hall = self.hall(class);
            let taken = hall.taken();
            let next = taken.saturating_sub(hall.room.permits);
            let waiting = hall.waiting.load(Ordering::Relaxed);
            (class, hall.room, taken - next, waiting + next)
        })
    }

    /// Waits until nobody works. Threads that wait for a database which hangs are waited for, too.
    pub async fn rest(&self) {
        for class in Class::ALL {
            let hall = self.hall(class);
            let all = (hall.room.permits + hall.next) as u32;
            drop(hall.free.acquire_many(all).await);
        }
    }

    fn hall(&self, class: Class) -> &Arc<Hall> {
        match class {
            Class::Credential => &self.credential,
            Class::Account => &self.account,
            Class::Password => &self.password,
            Class::Ingress => &self.ingress,
            Class::Interactive => &self.interactive,
            Class::Long => &self.long,
            Class::Cpu => &self.cpu,
            Class::Job => &self.job,
        }
    }
}

impl Hall {
    fn new(class: Class, room: Room) -> Hall {
        let shed = |reason| metrics::GATE_SHED.with_label_values(&[class.name(), reason]);
        let next = match class {
            // Whoever has a turn hashes.
            Class::Password => 0,
            _ => room.permits / 2,
        };
        Hall {
            room,
            threads: Threads::new(class.name(), room.permits),
            next,
            free: Arc::new(Semaphore::new(room.permits + next)),
            inside: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            shares: Mutex::default(),
            waits: metrics::GATE_WAIT.with_label_values(&[class.name()]),
            full: shed("line"),
            late: shed("wait"),
            greedy: shed("share"),
        }
    }

    fn admit(self: &Arc<Hall>) -> Result<Place, Full> {
        self.take()?;
        Ok(Place::of(self.clone()))
    }

    fn take(&self) -> Result<(), Full> {
        let places = self.room.permits + self.room.line;
        let taken = self
            .inside
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |inside| {
                (inside < places).then_some(inside + 1)
            });
        taken.map(drop).map_err(|_| {
            self.full.inc();
            Full
        })
    }

    async fn wait(
        &self,
        came: Instant,
        patience: Duration,
        place: Option<&Place>,
    ) -> Result<OwnedSemaphorePermit, Full> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Waiting(&self.waiting);
        match tokio::time::timeout(patience, self.free.clone().acquire_owned()).await {
            Ok(permit) => Ok(permit.expect("the gate is never closed")),
            Err(_) => {
                self.waited(came.elapsed(), place);
                self.late.inc();
                Err(Full)
            }
        }
    }

    /// Notes a wait that is over.
    fn waited(&self, time: Duration, place: Option<&Place>) {
        self.waits.observe(time.as_secs_f64());
        if let Some(place) = place {
            place.waited(time);
        }
    }

    /// Permits that somebody has.
    fn taken(&self) -> usize {
        self.room.permits + self.next - self.free.available_permits()
    }

    fn hold(&self, workspace: WorkspaceId) -> (usize, bool) {
        let mut shares = self.shares.lock().expect("no panic while counting");
        let held = shares.entry(workspace).or_insert(0);
        *held += 1;
        (*held, shares.len() > 1)
    }

    fn release(&self, workspace: WorkspaceId) {
        let mut shares = self.shares.lock().expect("no panic while counting");
        if let Some(held) = shares.get_mut(&workspace) {
            *held -= 1;
            if *held == 0 {
                shares.remove(&workspace);
            }
        }
    }
}

/// One who waits; counted for as long as it does, however it ends.
struct Waiting<'h>(&'h AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
