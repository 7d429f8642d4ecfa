//! What a worker that holds a lane does inside the seller's workspace, in the transaction that applies what it saw.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    model::{ConnectionId, InboxEventId, Lane, Waiting},
    queries::{self, Mark},
};
use crate::kernel::{db::Tenant, error::Result, metrics, wake::Signal};

/// How long somebody else is given who has what an event changes: at first, and twice as long each time, but no longer than this.
const BUSY: Duration = Duration::from_secs(5);
const BUSY_FOR_LONG: Duration = Duration::from_secs(300);
/// Waits before each further look at an event that failed. After the last one it is dead.
const BACK_OFF: [u64; 8] = [10, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400];

/// The outcome of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Applied.
    Done,
    /// Nothing here is about it.
    Ignored,
    /// Understood, but not to be mapped yet: it waits until [`park_no_longer`] names the same thing.
    Parked(String),
    /// It could not be looked at, or not be read.
    Failed(String),
    /// Somebody else had what it changes: it is looked at again, soon at first, and that counts for nothing.
    Busy,
}

/// Locks the lane until the end of the transaction. False: the lease was lost, and whatever was seen is stale.
///
/// # Errors
/// The database's.
pub fn hold(tx: &mut Tenant<'_>, lane: &Lane) -> Result<bool> {
    Ok(queries::lock(tx.conn(), lane.connection, &lane.name, lane.token)?)
}

/// Notes which of the lane's events are looked at from now on: should no word come of it, these are counted, and no others. False: the lease
/// was lost.
///
/// # Errors
/// The database's.
pub fn begin(tx: &mut Tenant<'_>, lane: &Lane, events: &[Waiting]) -> Result<bool> {
    if !hold(tx, lane)? {
        return Ok(false);
    }
    let ids: Vec<InboxEventId> = events.iter().map(|event| event.id).collect();
    queries::begin(tx.conn(), &ids)?;
    Ok(true)
}

/// Counts a look that ended without a word: its events may be what the worker was lost over, and are looked at again later, as any that
/// failed. Answers what is to be looked at now.
///
/// # Errors
/// The database's.
pub fn count_lost(tx: &mut Tenant<'_>, lane: &Lane) -> Result<Vec<Waiting>> {
    if !hold(tx, lane)? {
        return Ok(Vec::new());
    }
    let (lost, left): (Vec<&Waiting>, Vec<&Waiting>) = lane.events.iter().partition(|event| event.lost);
    settle(tx, lost, &Settled::Failed(LOST.to_owned()))?;
    Ok(left.into_iter().cloned().collect())
}

/// Gives the lease back without a word about its events: they are looked at by whoever comes next, and nothing is counted.
///
/// # Errors
/// The database's.
pub(super) fn give_back(tx: &mut Tenant<'_>, lane: &Lane) -> Result<()> {
    if !hold(tx, lane)? {
        return Ok(());
    }
    queries::forget_look(tx.conn(), lane.connection, &lane.name)?;
    queries::free(tx.conn(), lane.connection, &lane.name)?;
    tx.wake(Signal::Inbox);
    Ok(())
}

/// What is said of a look whose worker never said anything.
const LOST: &str = "the worker that looked was lost";

/// Records what became of some of the lane's events. A look that failed or was put off is counted of those only that are looked at
/// ([`begin`]), and ends that: who does not hear of the commit may record it again.
///
/// # Errors
/// The database's.
pub fn settle<'e>(tx: &mut Tenant<'_>, events: impl IntoIterator<Item = &'e Waiting>, outcome: &Settled) -> Result<()> {
    let events: Vec<&Waiting> = events.into_iter().collect();
    let now = tx.now()?;
    if let Settled::Failed(error) = outcome {
        for event in events {
            let again = next_look(event, now);
            let counted = queries::fail(tx.conn(), event.id, &clipped(error), again)?;
            if again.is_none() && counted > 0 {
                metrics::DEAD_LETTERS.with_label_values(&["inbox"]).inc();
                tracing::error!(event = %event.id, kind = event.kind, error, "an event is given up");
            }
        }
        return Ok(());
    }
    let ids: Vec<InboxEventId> = events.iter().map(|event| event.id).collect();
    let (state, parked_on) = match outcome {
        Settled::Busy => {
            metrics::INBOX_PUT_OFF.inc();
            let longest = events.iter().map(|event| event.put_off).max();
            queries::put_off(tx.conn(), &ids, now + give_way(longest.unwrap_or_default()))?;
            return Ok(());
        }
        Settled::Done => ("done", None),
        Settled::Ignored => ("ignored", None),
        Settled::Parked(on) => ("parked", Some(on.clone())),
        Settled::Failed(_) => unreachable!("answered above"),
    };
    let done_at = parked_on.is_none().then_some(now);
    queries::mark(
        tx.conn(),
        &ids,
        &Mark {
            state,
            last_error: None,
            parked_on,
            done_at,
            put_off: 0,
            looking: false,
        },
    )?;
    Ok(())
}

/// How long somebody else is given, after so many times.
fn give_way(times: i32) -> Duration {
    let doubled = BUSY * 2_u32.pow(times.clamp(0, 8).unsigned_abs());
    doubled.min(BUSY_FOR_LONG)
}

/// When an event that failed once more is looked at again: later every time, and not at the same second as its neighbours.
fn next_look(event: &Waiting, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let wait = BACK_OFF.get(event.attempts.max(0) as usize)?;
    let jitter = event.id.uuid().as_u128() as u64 % (wait / 10).max(1);
    Some(now + Duration::from_secs(wait + jitter))
}

fn clipped(error: &str) -> String {
    error.replace('\0', "\u{fffd}").chars().take(500).collect()
}

/// Moves events into the lane in which they belong, to be looked at again there.
///
/// # Errors
/// The database's.
pub fn move_to<'e>(
    tx: &mut Tenant<'_>,
    lane: &Lane,
    events: impl IntoIterator<Item = &'e Waiting>,
    name: &str,
) -> Result<()> {
    let ids: Vec<InboxEventId> = events.into_iter().map(|event| event.id).collect();
    queries::relane(tx.conn(), &ids, name)?;
    open(tx, lane.connection, name)
}

/// Waits until nobody looks at a lane any more, and keeps everybody from it until the commit; then it is looked at.
///
/// # Errors
/// 503 `overloaded` if that takes longer than a lock is waited for.
pub fn open(tx: &mut Tenant<'_>, connection: ConnectionId, lane: &str) -> Result<()> {
    let workspace = tx.workspace();
    queries::open_lane(tx.conn(), workspace, connection, lane)?;
    tx.wake(Signal::Inbox);
    Ok(())
}

/// Lets whatever was parked on this be looked at again: the map has changed. Answers how many events.
///
/// # Errors
/// The database's.
pub fn park_no_longer(tx: &mut Tenant<'_>, connection: ConnectionId, on: &str) -> Result<usize> {
    let now = tx.now()?;
    look_again(tx, connection, on, DateTime::UNIX_EPOCH..=now)
}

/// The same for what came in since the one and could be looked at until the other: nobody knows whether anything has changed.
///
/// # Errors
/// The database's.
pub fn look_again(
    tx: &mut Tenant<'_>,
    connection: ConnectionId,
    on: &str,
    within: RangeInclusive<DateTime<Utc>>,
) -> Result<usize> {
    // What is freed says which lanes are to be looked at: somebody may park more in others at this moment.
    let freed = queries::unpark(tx.conn(), connection, on, *within.start(), *within.end())?;
    let lanes: BTreeSet<&String> = freed.iter().collect();
    for lane in lanes {
        open(tx, connection, lane)?;
    }
    Ok(freed.len())
}

/// What the events wait for that are parked because the account itself seems to be the wrong one.
pub const ACCOUNT: &str = "account";

/// What a look told of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing: nobody was asked, or nobody answered.
    #[default]
    Unknown,
    /// It works.
    Well,
    /// It does not, and this is why.
    Trouble(String),
}

impl Health {
    /// What two looks told together: the worse.
    #[must_use]
    pub fn and(self, other: Health) -> Health {
        match (self, other) {
            (Health::Trouble(why), _) | (_, Health::Trouble(why)) => Health::Trouble(why),
            (Health::Well, _) | (_, Health::Well) => Health::Well,
            (Health::Unknown, Health::Unknown) => Health::Unknown,
        }
    }
}

/// Frees the lane. Comes last in the transaction; what arrived meanwhile makes it available at once. The connection is degraded as long as
/// one of its lanes has trouble with it: that others have none says nothing about what this one asked for.
///
/// # Errors
/// The database's.
pub fn release(tx: &mut Tenant<'_>, lane: &Lane, health: &Health) -> Result<()> {
    let connection = lane.connection;
    let trouble = match health {
        Health::Unknown => None,
        Health::Well if queries::is_parked(tx.conn(), connection, &lane.name, ACCOUNT)? => None,
        Health::Well => Some(None),
        Health::Trouble(why) => Some(Some(clipped(why))),
    };
    queries::free(tx.conn(), connection, &lane.name)?;
    if let Some(trouble) = trouble {
        queries::note(tx.conn(), connection, &lane.name, trouble.as_deref())?;
        if trouble.is_some() || queries::state(tx.conn(), connection)? != "active" {
            queries::judge(tx.conn(), connection)?;
        }
    }
    let now = tx.now()?;
    queries::heard_from(tx.conn(), connection, now)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::Id;

    #[test]
    fn each_look_waits_longer_and_the_ninth_does_not_come() {
        let now = DateTime::UNIX_EPOCH;
        let after = |attempts| {
            let event = Waiting {
                id: Id::nil(),
                kind: String::new(),
                object_kind: None,
                object_id: None,
                attempts,
                put_off: 0,
                lost: false,
            };
            next_look(&event, now).map(|at| (at - now).num_seconds())
        };
        assert_eq!(
            (0..9).map(after).collect::<Vec<_>>(),
            [
                Some(10),
                Some(60),
                Some(300),
                Some(1_800),
                Some(7_200),
                Some(21_600),
                Some(43_200),
                Some(86_400),
                None
            ]
        );
    }

    #[test]
    fn who_has_to_wait_for_somebody_else_waits_longer_each_time() {
        let waits = (0..9).map(|times| give_way(times).as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
