//! The admission gate: how much is done at once. Its permits equal the connections, so that nobody waits on a blocking thread, and a
//! permit lives as long as the *work*, not as long as the request: it moves into the blocking closure.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::kernel::{
    access::Class,
    error::{OVERLOADED, Outcome, Problem, RATE_LIMITED},
    id::WorkspaceId,
};

/// How much of one class is done at once, and how long others wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How many work at once.
    pub permits: usize,
    /// How many may wait.
    pub line: usize,
    /// How long one waits at most.
    pub longest: Duration,
}

/// All classes' rooms.
pub struct Gate {
    credential: Arc<Hall>,
    account: Arc<Hall>,
    ingress: Arc<Hall>,
    interactive: Arc<Hall>,
    long: Arc<Hall>,
    job: Arc<Hall>,
}

struct Hall {
    room: Room,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Who holds or waits for how many permits, for the share of one workspace.
    shares: Mutex<HashMap<WorkspaceId, usize>>,
}

/// Leave to work. Dropped by the thread that works, never by the future that waits.
pub struct Permit {
    hall: Arc<Hall>,
    workspace: Option<WorkspaceId>,
    _permit: OwnedSemaphorePermit,
    /// How long the caller stood in line.
    pub waited: Duration,
}

/// One place in the line; given back when the wait ends, however it ends.
struct Place {
    hall: Arc<Hall>,
    workspace: Option<WorkspaceId>,
    kept: bool,
}

impl Gate {
    /// The rooms of a process with this many tenant and kernel connections for requests.
    pub fn new(tenant: usize, kernel: usize) -> Gate {
        let ms = Duration::from_millis;
        let long = (tenant / 5).max(1);
        let interactive = tenant.saturating_sub(long).max(1);
        let ingress = (kernel / 5).max(1);
        let account = (kernel * 2 / 5).max(1);
        let hall = |permits, line, longest| Arc::new(Hall::new(Room { permits, line, longest }));
        Gate {
            credential: hall(kernel.saturating_sub(ingress + account).max(1), 16, ms(200)),
            account: hall(account, 16, ms(300)),
            ingress: hall(ingress, 64, ms(1_000)),
            interactive: hall(interactive, 2 * interactive, ms(300)),
            long: hall(long, 8, ms(2_000)),
            job: hall(tenant, 256, ms(30_000)),
        }
    }

    /// Waits in line for leave to work. Leaving the line (the caller went away) is free.
    ///
    /// # Errors
    /// 503 `overloaded` when the line is full or the wait was too long; 429 `rate-limited` when one workspace wants more than its
    /// share while others wait.
    pub async fn enter(
        &self,
        class: Class,
        workspace: Option<WorkspaceId>,
        deadline: Instant,
    ) -> Result<Permit, Problem> {
        let hall = self.hall(class);
        let started = Instant::now();
        if let Ok(permit) = hall.free.clone().try_acquire_owned() {
            return Ok(hall.clone().permit(workspace, permit, Duration::ZERO));
        }
        let mut place = hall.clone().stand(workspace)?;
        let longest = hall.room.longest.min(deadline.saturating_duration_since(started));
        let permit = tokio::time::timeout(longest, hall.free.clone().acquire_owned())
            .await
            .map_err(|_| overloaded())?
            .expect("the gate is never closed");
        place.kept = true;
        hall.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(Permit {
            hall: hall.clone(),
            workspace,
            _permit: permit,
            waited: started.elapsed(),
        })
    }

    /// What each class has, in use and waiting: for the metrics.
    pub fn gauges(&self) -> impl Iterator<Item = (Class, Room, usize, usize)> {
        [
            Class::Credential,
            Class::Account,
            Class::Ingress,
            Class::Interactive,
            Class::Long,
            Class::Job,
        ]
        .into_iter()
        .map(|class| {
            let hall = self.hall(class);
            let in_use = hall.room.permits - hall.free.available_permits();
            (class, hall.room, in_use, hall.waiting.load(Ordering::Relaxed))
        })
    }

    fn hall(&self, class: Class) -> &Arc<Hall> {
        match class {
            Class::Credential => &self.credential,
            Class::Account => &self.account,
            Class::Ingress => &self.ingress,
            Class::Interactive => &self.interactive,
            Class::Long => &self.long,
            Class::Job => &self.job,
        }
    }
}

fn overloaded() -> Problem {
    OVERLOADED.with("reason", "line").outcome(Outcome::None)
}

impl Hall {
    fn new(room: Room) -> Hall {
        Hall {
            room,
            free: Arc::new(Semaphore::new(room.permits)),
            waiting: AtomicUsize::new(0),
            shares: Mutex::default(),
        }
    }

    fn permit(
        self: Arc<Hall>,
        workspace: Option<WorkspaceId>,
        permit: OwnedSemaphorePermit,
        waited: Duration,
    ) -> Permit {
        self.hold(workspace);
        Permit {
            hall: self,
            workspace,
            _permit: permit,
            waited,
        }
    }

    /// Takes a place in the line, if there is one and the workspace has not had its half.
    fn stand(self: Arc<Hall>, workspace: Option<WorkspaceId>) -> Result<Place, Problem> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let held = self.hold(workspace);
        let place = Place {
            hall: self.clone(),
            workspace,
            kept: false,
        };
        if waiting >= self.room.line {
            return Err(overloaded());
        }
        let share = (self.room.permits + self.room.line).div_ceil(2);
        if held > share && self.others_wait(workspace) {
            let after = Duration::from_secs(1);
            return Err(RATE_LIMITED
                .with("bucket", "concurrency")
                .with("limit", share)
                .retry_after(after));
        }
        Ok(place)
    }

    fn hold(&self, workspace: Option<WorkspaceId>) -> usize {
        let Some(workspace) = workspace else { return 0 };
        let mut shares = self.shares.lock().expect("no panic while counting");
        let held = shares.entry(workspace).or_insert(0);
        *held += 1;
        *held
    }

    fn release(&self, workspace: Option<WorkspaceId>) {
        let Some(workspace) = workspace else { return };
        let mut shares = self.shares.lock().expect("no panic while counting");
        if let Some(held) = shares.get_mut(&workspace) {
            *held -= 1;
            if *held == 0 {
                shares.remove(&workspace);
            }
        }
    }

    fn others_wait(&self, workspace: Option<WorkspaceId>) -> bool {
        let shares = self.shares.lock().expect("no panic while counting");
        shares.keys().any(|other| Some(*other) != workspace)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.hall.release(self.workspace);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.hall.waiting.fetch_sub(1, Ordering::Relaxed);
            self.hall.release(self.workspace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[actix_web::test]
    async fn a_full_line_is_told_at_once_and_leaving_it_is_free() {
        let gate = Gate::new(1, 5);
        let held = gate
            .enter(Class::Interactive, None, soon())
            .await
            .expect("the first goes in");
        let mut line: Vec<_> = (0..2)
            .map(|_| Box::pin(gate.enter(Class::Interactive, None, soon())))
            .collect();
        for waiting in &mut line {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        let refused = gate
            .enter(Class::Interactive, None, soon())
            .await
            .err()
            .expect("the line is full");
        assert_eq!(refused.kind(), OVERLOADED);
        line.clear();
        drop(held);
        gate.enter(Class::Interactive, None, soon()).await.expect("room again");
    }

    #[actix_web::test]
    async fn who_waits_too_long_is_sent_away() {
        let gate = Gate::new(1, 5);
        let _held = gate
            .enter(Class::Interactive, None, soon())
            .await
            .expect("the first goes in");
        let refused = gate
            .enter(Class::Interactive, None, soon())
            .await
            .err()
            .expect("nobody leaves");
        assert_eq!(refused.kind(), OVERLOADED);
    }

    #[actix_web::test]
    async fn one_workspace_cannot_take_the_whole_line_from_others() {
        let gate = Gate::new(3, 5); // two permits, a line of four: a share of three
        let (big, small) = (
            WorkspaceId::from_uuid(uuid::Uuid::from_u128(1)),
            WorkspaceId::from_uuid(uuid::Uuid::from_u128(2)),
        );
        let _held = [
            gate.enter(Class::Interactive, Some(big), soon()).await,
            gate.enter(Class::Interactive, Some(big), soon()).await,
        ];
        let mut other = Box::pin(gate.enter(Class::Interactive, Some(small), soon()));
        assert!(futures_util::poll!(&mut other).is_pending());
        let mut third = Box::pin(gate.enter(Class::Interactive, Some(big), soon()));
        assert!(futures_util::poll!(&mut third).is_pending());
        let refused = gate
            .enter(Class::Interactive, Some(big), soon())
            .await
            .err()
            .expect("beyond its share");
        assert_eq!(refused.kind(), RATE_LIMITED);
    }
}
