//! Refusals worth keeping: one entry a minute for each workspace, actor, action and code, with a count. They are tallied in memory and
//! written once, when their minute is over: an entry whose count rose after it was sealed would break the chain, and nobody waits for
//! the note of their own refusal. A process that is killed loses its last minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    model::{AuditOutcome, Entry, Subject},
    service::write,
};
use crate::kernel::{
    access::{Actor, Scope},
    db::Db,
    error::{INVALID_CREDENTIALS, Problem, Result, TARGET_NOT_ALLOWED},
    id::WorkspaceId,
    metrics,
};

/// For so long equal refusals become one entry.
const WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How often is looked whether a minute is over.
const ROUND: Duration = Duration::from_secs(2);
/// Different refusals that one workspace has in memory at most,
const MOST_OF_ONE: usize = 200;
/// and all of them together.
const MOST: usize = 4_000;
/// How long a process that ends goes on writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tallies refusals, and writes them into the audit log. Copies share everything.
#[derive(Clone)]
pub struct Refusals {
    db: Db,
    kept: Arc<Mutex<Kept>>,
    /// One writes at a time, so that whoever flushes knows that nothing is under way.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Kept {
    workspaces: HashMap<WorkspaceId, HashMap<Key, Tally>>,
    count: usize,
}

/// What is counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    workspace: WorkspaceId,
    actor: (&'static str, Option<Uuid>),
    action: &'static str,
    code: &'static str,
    subject: Option<Subject>,
}

struct Tally {
    /// The first one's.
    scope: Scope,
    began: DateTime<Utc>,
    occurrences: i32,
}

/// True if a refusal of a write is kept: it was not allowed, it named a target inside of a network, or the password was wrong.
fn is_worth_keeping(problem: &Problem) -> bool {
    let kind = problem.kind();
    kind.status == 403 || kind == TARGET_NOT_ALLOWED || kind == INVALID_CREDENTIALS
}

impl Refusals {
    /// Writes into this database.
    pub fn new(db: Db) -> Refusals {
        Refusals {
            db,
            kept: Arc::default(),
            writing: Arc::default(),
        }
    }

    /// Notes that a write was refused, if that is worth keeping. `action` is the operation. It only touches memory; where there is no
    /// room the refusal is counted as lost.
    pub fn note(&self, scope: &Scope, action: &'static str, problem: &Problem) {
        self.note_about(scope, action, None, problem);
    }

    /// The same with what it was about. What the software of a customer may not do is told to it, and to nobody else: there may be very many
    /// of it, and the refusals of people would find no room.
    pub fn note_about(&self, scope: &Scope, action: &'static str, subject: Option<Subject>, problem: &Problem) {
        let actor = scope.actor();
        if !is_worth_keeping(problem) || matches!(actor, Actor::License(_)) {
            return;
        }
        let key = Key {
            workspace: scope.workspace(),
            actor: (actor.kind(), actor.uuid()),
            action,
            code: problem.kind().code,
            subject,
        };
        let tally = Tally {
            scope: scope.clone(),
            began: self.db.clock().now(),
            occurrences: 1,
        };
        self.kept().add(key, tally);
    }

    /// Writes what is due, for as long as the process lives.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.write(self.db.clock().now() - WINDOW).await;
        }
    }

    /// Writes everything, for a process that is about to end. What cannot be written within five seconds is lost.
    pub async fn flush(&self) {
        let all = self.write(DateTime::<Utc>::MAX_UTC);
        let in_time = tokio::time::timeout(PATIENCE, all).await.is_ok();
        // The one under way is lost with the wait for it.
        let left = self.kept().count + usize::from(!in_time);
        if left > 0 {
            tracing::warn!(
                left,
                "refusals are missing in the audit log: the process ends before they are written"
            );
        }
    }

    /// Writes what began by then. What the database does not take now is kept for the next round.
    async fn write(&self, until: DateTime<Utc>) {
        let _alone = self.writing.lock().await;
        loop {
            let Some((key, tally)) = self.kept().take(until) else {
                return;
            };
            if let Err(error) = self.write_one(key, &tally).await {
                tracing::warn!(%error, "refusals could not be written into the audit log yet");
                self.kept().add(key, tally);
                return;
            }
        }
    }

    async fn write_one(&self, key: Key, tally: &Tally) -> Result<()> {
        let scope = tally.scope.afterwards(PATIENCE);
        let (began, occurrences) = (tally.began, tally.occurrences);
        let work = self.db.tenant(scope, move |tx| {
            let (workspace, actor, call) = (tx.workspace(), tx.scope().actor(), tx.scope().call().clone());
            let reach = tx.scope().reach();
            let entry = Entry {
                action: key.action,
                subject: key.subject,
                outcome: AuditOutcome::Refused,
                code: Some(key.code),
                occurrences,
                reseller: reach.reseller,
                customer: reach.customer,
                ..Entry::default()
            };
            write(tx.conn(), workspace, actor, &call, entry, began)
        });
        work.await.map(|_| ())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, key: Key, tally: Tally) {
        let known = self.workspaces.get(&key.workspace);
        let full = self.count >= MOST || known.is_some_and(|known| known.len() >= MOST_OF_ONE);
        if let Some(same) = self
            .workspaces
            .get_mut(&key.workspace)
            .and_then(|known| known.get_mut(&key))
        {
            same.occurrences = same.occurrences.saturating_add(tally.occurrences);
            if tally.began < same.began {
                (same.began, same.scope) = (tally.began, tally.scope);
            }
        } else if full {
            metrics::AUDIT_LOST.inc_by(u64::from(tally.occurrences.unsigned_abs()));
        } else {
            self.workspaces.entry(key.workspace).or_default().insert(key, tally);
            self.count += 1;
        }
    }

    /// Takes one that began by then.
    fn take(&mut self, until: DateTime<Utc>) -> Option<(Key, Tally)> {
        let all = self.workspaces.values().flatten();
        let key = *all.into_iter().find(|(_, tally)| tally.began <= until)?.0;
        let of = self.workspaces.get_mut(&key.workspace)?;
        let tally = of.remove(&key)?;
        if of.is_empty() {
            self.workspaces.remove(&key.workspace);
        }
        self.count -= 1;
        Some((key, tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        access::{Actor, Call, Reach},
        clock::Clock,
        entitlements::Plan,
    };

    fn tally(began: DateTime<Utc>) -> Tally {
        let call = Arc::new(Call::internal("products_create", "req_1".into()));
        let plan = Arc::new(Plan::free());
        Tally {
            scope: Scope::grant(WorkspaceId::nil(), Actor::System, Reach::default(), plan, call),
            began,
            occurrences: 1,
        }
    }

    fn key(workspace: WorkspaceId, actor: u128) -> Key {
        Key {
            workspace,
            actor: ("user", Some(Uuid::from_u128(actor))),
            action: "products_create",
            code: "forbidden",
            subject: None,
        }
    }

    #[test]
    fn a_flood_stays_within_bounds_and_takes_no_room_from_others() {
        let now = Clock::system().now();
        let (noisy, quiet) = (WorkspaceId::new(now), WorkspaceId::new(now));
        let mut kept = Kept::default();
        let lost = metrics::AUDIT_LOST.get();
        for actor in 0..300 {
            kept.add(key(noisy, actor), tally(now));
        }
        assert_eq!((kept.count, metrics::AUDIT_LOST.get() - lost), (MOST_OF_ONE, 100));
        for _ in 0..50 {
            kept.add(key(noisy, 7), tally(now));
            kept.add(key(quiet, 7), tally(now));
        }
        assert_eq!((kept.count, metrics::AUDIT_LOST.get() - lost), (MOST_OF_ONE + 1, 100));
        let counts: Vec<i32> = [noisy, quiet]
            .map(|of| kept.workspaces[&of][&key(of, 7)].occurrences)
            .into();
        assert_eq!(counts, [51, 50]);
    }

    #[test]
    fn what_could_not_be_written_is_counted_on() {
        let now = Clock::system().now();
        let (workspace, later) = (WorkspaceId::new(now), now + WINDOW);
        let mut kept = Kept::default();
        kept.add(key(workspace, 1), tally(now));
        assert!(kept.take(now - WINDOW).is_none(), "its minute is not over");
        let (again, first) = kept.take(now).expect("it is due");
        assert_eq!((kept.count, kept.workspaces.len()), (0, 0));
        kept.add(key(workspace, 1), tally(later));
        kept.add(again, first);
        let (_, both) = kept.take(now).expect("it is due");
        assert_eq!((both.occurrences, both.began, kept.count), (2, now, 0));
    }
}
