//! Limits that all processes share: counted in Redis, on its clock, in one call for all keys of a request. A process takes a few
//! tokens at once and spends them within a second, so a busy key costs no call for most requests.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use ahash::RandomState;

use super::{Ask, Home, Standing, Verdict, quota::Key};
use crate::kernel::redis::{Redis, Script, State, Unavailable};

/// Tokens that were taken in advance are worth nothing after this.
const LIFE: Duration = Duration::from_secs(1);

static TAKE: Script = Script::new(include_str!("gcra.lua"));
static REFUND: Script = Script::new(include_str!("refund.lua"));

pub(super) struct Shared {
    redis: Redis,
    purse: Purse,
}

impl Shared {
    pub(super) fn new(redis: Redis) -> Shared {
        Shared {
            redis,
            purse: Purse::default(),
        }
    }

    /// True if there is no use in asking.
    pub(super) fn is_away(&self) -> bool {
        self.redis.state() != State::Up
    }

    /// True if this deployment has none.
    pub(super) fn is_off(&self) -> bool {
        self.redis.state() == State::Off
    }

    pub(super) async fn take(&self, home: &Home, asks: &[Ask]) -> Result<Verdict, Unavailable> {
        let now = Instant::now();
        // What the purse holds is put aside first, and put back if the rest of the request is refused.
        let spend = |ask: &Ask| self.purse.spend(home.key(ask), ask, now);
        let spent: Vec<Option<Standing>> = asks.iter().map(spend).collect();
        if spent.iter().all(Option::is_some) {
            return Ok(Verdict::new(spent.into_iter().flatten().collect(), true));
        }
        let aside = Aside {
            purse: &self.purse,
            coins: asks
                .iter()
                .zip(&spent)
                .filter(|(_, spent)| spent.is_some())
                .map(|(ask, _)| (home.key(ask), ask.cost))
                .collect(),
        };
        // In a box: the call is large and rare, and would be a part of every request.
        Box::pin(self.ask(home, asks, spent, aside, now)).await
    }

    async fn ask(
        &self,
        home: &Home,
        asks: &[Ask],
        spent: Vec<Option<Standing>>,
        mut aside: Aside<'_>,
        now: Instant,
    ) -> Result<Verdict, Unavailable> {
        let missing: Vec<usize> = (0..asks.len()).filter(|at| spent[*at].is_none()).collect();
        let keys: Vec<String> = missing.iter().map(|at| home.key(&asks[*at]).to_string()).collect();
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let arguments: Vec<f64> = missing.iter().flat_map(|at| arguments(&asks[*at])).collect();
        let answer: Vec<i64> = self.redis.run(&TAKE, &names, &arguments).await?;
        let [passed, rows @ ..] = answer.as_slice() else {
            return Err(Unavailable);
        };
        if rows.len() != missing.len() * 4 {
            return Err(Unavailable);
        }
        let mut standings = spent;
        for (at, row) in missing.into_iter().zip(rows.chunks_exact(4)) {
            let (ask, [taken, left, wait, full]) = (&asks[at], [row[0], row[1], row[2], row[3]]);
            let spare = count(taken).saturating_sub(ask.cost);
            standings[at] = Some(Standing {
                bucket: ask.bucket,
                quota: ask.quota,
                left: count(left).saturating_add(spare),
                full_in: millis(full),
                wait: (wait > 0).then(|| millis(wait)),
            });
            if spare > 0 {
                self.purse.put(home.key(ask), spare, count(left), now);
            }
        }
        if *passed == 1 {
            aside.coins.clear();
        }
        Ok(Verdict::new(standings.into_iter().flatten().collect(), true))
    }

    /// Gives a token back, in the background: nobody waits for it.
    pub(super) fn give_back(&self, home: Home, ask: Ask) {
        let redis = self.redis.clone();
        tokio::spawn(async move {
            let key = home.key(&ask).to_string();
            let back = [ask.quota.interval(), f64::from(ask.cost)];
            let _lost = redis.run::<i64>(&REFUND, &[key.as_str()], &back).await;
        });
    }

    /// Gives a token back that is worth something for a moment only: to whoever comes next here, without asking anybody, where tokens are
    /// taken in advance.
    pub(super) fn put_back(&self, home: Home, ask: Ask) {
        if !self.purse.take_back(home.key(&ask), ask.cost, Instant::now()) {
            self.give_back(home, ask);
        }
    }

    pub(super) fn prune(&self) {
        self.purse.prune(Instant::now());
    }
}

fn arguments(ask: &Ask) -> [f64; 4] {
    let quota = ask.quota;
    [
        quota.interval(),
        f64::from(quota.burst),
        f64::from(ask.cost),
        f64::from(quota.batch()),
    ]
}

fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(number.max(0).unsigned_abs())
}

/// Tokens that were put aside. Dropped with some left in it, they go back: refused, failed and abandoned requests take nothing.
struct Aside<'p> {
    purse: &'p Purse,
    coins: Vec<(Key, u32)>,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        for (key, tokens) in self.coins.drain(..) {
            self.purse.put_back(key, tokens);
        }
    }
}

type Pocket = HashMap<Key, Coins, RandomState>;

/// Tokens that were taken in advance.
#[derive(Default)]
struct Purse {
    hasher: RandomState,
    pockets: [Mutex<Pocket>; 16],
}

struct Coins {
    tokens: u32,
    /// What Redis had left when they were taken.
    left: u32,
    until: Instant,
}

impl Purse {
    fn pocket(&self, key: &Key) -> MutexGuard<'_, Pocket> {
        let at = self.hasher.hash_one(key) as usize % self.pockets.len();
        self.pockets[at].lock().expect("no panic while counting")
    }

    fn spend(&self, key: Key, ask: &Ask, now: Instant) -> Option<Standing> {
        if ask.quota.batch() == 1 {
            return None;
        }
        let mut pocket = self.pocket(&key);
        let coins = pocket
            .get_mut(&key)
            .filter(|coins| coins.until > now && coins.tokens >= ask.cost)?;
        coins.tokens -= ask.cost;
        let left = coins.left.saturating_add(coins.tokens);
        let gone = ask.quota.burst.saturating_sub(left);
        Some(Standing {
            bucket: ask.bucket,
            quota: ask.quota,
            left,
            full_in: Duration::from_secs_f64(f64::from(gone) * ask.quota.interval() / 1e6),
            wait: None,
        })
    }

    fn put(&self, key: Key, tokens: u32, left: u32, now: Instant) {
        let mut pocket = self.pocket(&key);
        let coins = pocket.entry(key).or_insert(Coins {
            tokens: 0,
            left,
            until: now,
        });
        let kept = if coins.until > now { coins.tokens } else { 0 };
        *coins = Coins {
            tokens: kept.saturating_add(tokens),
            left,
            until: now + LIFE,
        };
    }

    fn put_back(&self, key: Key, tokens: u32) {
        if let Some(coins) = self.pocket(&key).get_mut(&key) {
            coins.tokens = coins.tokens.saturating_add(tokens);
        }
    }

    /// False if there are none for that key that are still worth something.
    fn take_back(&self, key: Key, tokens: u32, now: Instant) -> bool {
        let mut pocket = self.pocket(&key);
        let live = pocket.get_mut(&key).filter(|coins| coins.until > now);
        live.map(|coins| coins.tokens = coins.tokens.saturating_add(tokens))
            .is_some()
    }

    fn prune(&self, now: Instant) {
        for pocket in &self.pockets {
            pocket
                .lock()
                .expect("no panic while counting")
                .retain(|_, coins| coins.until > now);
        }
    }
}
