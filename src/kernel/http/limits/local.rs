//! Limits that one process judges alone, with its share of each. Buckets are asked in the order given; a token that an earlier one gave
//! is not given back when a later one refuses.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ahash::RandomState;
use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

use super::{Ask, Home, Quota, Standing, Verdict, quota::Key};

/// Keys that are told apart. Beyond it, unknown ones share a bucket: memory must not grow with the number of addresses.
const KEYS: usize = 100_000;

/// What judges by a quota, and where it keeps what it knows.
struct Limiter {
    judge: RateLimiter<Key, Shelf, DefaultClock, StateInformationMiddleware>,
    shelf: Shelf,
    /// How long a token takes to come back.
    period: Duration,
}

pub(super) struct Local {
    replicas: u32,
    clock: DefaultClock,
    limiters: RwLock<HashMap<Quota, Arc<Limiter>, RandomState>>,
    kept: Arc<AtomicUsize>,
    most: usize,
}

impl Local {
    pub(super) fn new(replicas: u32) -> Local {
        Local::with_room_for(KEYS, replicas)
    }

    pub(super) fn with_room_for(most: usize, replicas: u32) -> Local {
        Local {
            replicas: replicas.max(1),
            clock: DefaultClock::default(),
            limiters: RwLock::default(),
            kept: Arc::default(),
            most,
        }
    }

    pub(super) fn take(&self, home: &Home, asks: &[Ask]) -> Verdict {
        let mut standings = Vec::with_capacity(asks.len());
        let mut refused = false;
        for ask in asks {
            // Once one refused, nothing is taken from the others: they are named, for the caller is told every limit.
            let standing = if refused {
                self.untouched(ask)
            } else {
                self.take_one(home, ask)
            };
            refused |= standing.wait.is_some();
            standings.push(standing);
        }
        Verdict::new(standings, false)
    }

    fn untouched(&self, ask: &Ask) -> Standing {
        Standing {
            bucket: ask.bucket,
            quota: ask.quota,
            left: (ask.quota.burst / self.replicas).max(1),
            full_in: Duration::ZERO,
            wait: None,
        }
    }

    fn take_one(&self, home: &Home, ask: &Ask) -> Standing {
        let share = (ask.quota.burst / self.replicas).max(1);
        let cost = NonZeroU32::new(ask.cost.clamp(1, share)).expect("at least one");
        let judged = self.limiter(ask.quota).judge.check_key_n(&home.key(ask), cost);
        let (left, wait) = match judged {
            Ok(Ok(state)) => (state.remaining_burst_capacity().min(share), None),
            Ok(Err(not_until)) => (0, Some(not_until.wait_time_from(self.clock.now()))),
            Err(_) => (0, Some(ask.quota.window)),
        };
        let gone = f64::from(share - left) * f64::from(self.replicas);
        Standing {
            bucket: ask.bucket,
            quota: ask.quota,
            left,
            full_in: Duration::from_secs_f64(gone * ask.quota.interval() / 1e6),
            wait: wait.map(|wait| wait.max(Duration::from_millis(1))),
        }
    }

    /// The limiter of a quota: this process's share of it.
    fn limiter(&self, quota: Quota) -> Arc<Limiter> {
        if let Some(known) = self.limiters.read().expect("no panic while holding it").get(&quota) {
            return known.clone();
        }
        let mut limiters = self.limiters.write().expect("no panic while holding it");
        let made = || {
            let period = Duration::from_secs_f64(quota.interval() * f64::from(self.replicas) / 1e6);
            let period = period.max(Duration::from_nanos(1));
            let share = NonZeroU32::new((quota.burst / self.replicas).max(1)).expect("at least one");
            let rule = governor::Quota::with_period(period)
                .expect("longer than nothing")
                .allow_burst(share);
            let shelf = Shelf {
                hasher: RandomState::new(),
                boards: Default::default(),
                kept: self.kept.clone(),
                most: self.most,
            };
            let judge = RateLimiter::new(rule, shelf.clone(), self.clock.clone());
            Arc::new(Limiter { judge, shelf, period })
        };
        limiters.entry(quota).or_insert_with(made).clone()
    }

    /// Gives back what a request took.
    pub(super) fn put_back(&self, home: &Home, ask: &Ask) {
        let limiter = self.limiter(ask.quota);
        limiter.shelf.put_back(&home.key(ask), limiter.period * ask.cost);
    }

    /// Forgets keys that are full again, and quotas that nobody has any more.
    pub(super) fn prune(&self) {
        let mut limiters = self.limiters.write().expect("no panic while holding it");
        limiters.retain(|_, limiter| {
            limiter.judge.retain_recent();
            // Whoever judges by it this moment counts into it: nobody else can take it while all are held.
            Arc::strong_count(limiter) > 1 || !limiter.shelf.is_empty()
        });
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

type Board = HashMap<Key, Nanos, RandomState>;

/// The keys of one quota. All shelves together hold no more than `most`. Copies are one.
#[derive(Clone)]
struct Shelf {
    hasher: RandomState,
    boards: Arc<[Mutex<Board>; 16]>,
    kept: Arc<AtomicUsize>,
    most: usize,
}

impl Shelf {
    fn board(&self, key: &Key) -> &Mutex<Board> {
        &self.boards[self.hasher.hash_one(key) as usize % self.boards.len()]
    }

    /// Lets the bucket be as full as it was so long a time of filling later.
    fn put_back(&self, key: &Key, worth: Duration) {
        if let Some(state) = self.board(key).lock().expect("no panic while counting").get_mut(key) {
            *state = state.saturating_sub(worth.into());
        }
    }
}

impl StateStore for Shelf {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let full = self.kept.load(Ordering::Relaxed) >= self.most;
        let mut board = self.board(key).lock().expect("no panic while counting");
        if let Some(state) = board.get_mut(key) {
            let (answer, next) = judge(Some(*state))?;
            *state = next;
            return Ok(answer);
        }
        if full && *key != Key::CROWD {
            drop(board);
            return self.measure_and_replace(&Key::CROWD, judge);
        }
        let (answer, next) = judge(None)?;
        board.insert(*key, next);
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }
}

impl ShrinkableKeyedStateStore<Key> for Shelf {
    fn retain_recent(&self, drop_below: Nanos) {
        for board in self.boards.iter() {
            let mut board = board.lock().expect("no panic while counting");
            let before = board.len();
            board.retain(|_, state| *state > drop_below);
            self.kept.fetch_sub(before - board.len(), Ordering::Relaxed);
            board.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        let count = |board: &Mutex<Board>| board.lock().expect("no panic while counting").len();
        self.boards.iter().map(count).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
