//! A commit wakes whoever waits for what it left behind: loops of this process at once, those of others by a hint. A lost hint costs a
//! second, for every loop polls too.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::kernel::redis::{Hint, Redis};

/// What a commit may have left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Jobs of lane `steps`.
    Steps,
    /// Jobs of lane `deliveries`.
    Deliveries,
    /// Jobs of lane `deliveries_slow`.
    DeliveriesSlow,
    /// Jobs of lane `mail`.
    Mail,
    /// Jobs of lane `system`.
    System,
    /// Jobs of lane `slow`.
    Slow,
    /// Events for the relay.
    Outbox,
    /// Events of payment providers.
    Inbox,
}

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 8] = [
        Signal::Steps,
        Signal::Deliveries,
        Signal::DeliveriesSlow,
        Signal::Mail,
        Signal::System,
        Signal::Slow,
        Signal::Outbox,
        Signal::Inbox,
    ];

    /// What the hint is called: `wake:{name}`.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Steps => "steps",
            Signal::Deliveries => "deliveries",
            Signal::DeliveriesSlow => "deliveries_slow",
            Signal::Mail => "mail",
            Signal::System => "system",
            Signal::Slow => "slow",
            Signal::Outbox => "outbox",
            Signal::Inbox => "inbox",
        }
    }

    /// The signal of that name.
    pub fn named(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.name() == name)
    }
}

/// The signals that one transaction will give when it commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings(u8);

impl Rings {
    /// Notes one.
    pub fn add(&mut self, signal: Signal) {
        self.0 |= 1 << signal as u8;
    }

    fn has(self, signal: Signal) -> bool {
        self.0 & (1 << signal as u8) != 0
    }
}

/// The bells of a process.
#[derive(Default)]
pub struct Wakes {
    bells: [Notify; 8],
    abroad: OnceLock<Arc<dyn Fn(Signal) + Send + Sync>>,
}

impl Wakes {
    /// Passes every signal of this process on to others. Called on a blocking thread, so it must not wait.
    pub fn tell_others(&self, tell: impl Fn(Signal) + Send + Sync + 'static) {
        if self.abroad.set(Arc::new(tell)).is_err() {
            tracing::warn!("wake-ups already go to other processes; the second road is not used");
        }
    }

    /// Rings the bells of this process, and tells others.
    pub fn ring(&self, rings: Rings) {
        for signal in Signal::ALL.into_iter().filter(|signal| rings.has(*signal)) {
            self.hear(signal);
            if let Some(tell) = self.abroad.get() {
                tell(signal);
            }
        }
    }

    /// Rings a bell of this process: somebody else gave the signal.
    pub fn hear(&self, signal: Signal) {
        self.bells[signal as usize].notify_one();
    }

    /// Waits for the signal. One that was given since the last wait counts.
    pub async fn wait(&self, signal: Signal) {
        self.bells[signal as usize].notified().await;
    }
}

/// The channel that wake-ups go over.
const CHANNEL: &str = "wake";

/// Tells other processes of the commits of this one, and hears of theirs.
pub fn join(wakes: &Arc<Wakes>, redis: &Redis) {
    let origin = Uuid::new_v4().to_string();
    let (spoken, mut heard) = (redis.clone(), redis.listen(CHANNEL));
    let own = origin.clone();
    wakes.tell_others(move |signal| spoken.hint(CHANNEL, &format!("{} {own}", signal.name())));
    let wakes = Arc::downgrade(wakes);
    tokio::spawn(async move {
        loop {
            let hint = heard.next().await;
            let Some(wakes) = wakes.upgrade() else { return };
            match &hint {
                Hint::Missed => Signal::ALL.into_iter().for_each(|signal| wakes.hear(signal)),
                Hint::Said(text) => {
                    if let Some((name, from)) = text.split_once(' ')
                        && from != origin
                        && let Some(signal) = Signal::named(name)
                    {
                        wakes.hear(signal);
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[actix_web::test]
    async fn a_signal_that_came_before_the_wait_counts_and_others_are_told() {
        let wakes = Wakes::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        wakes.tell_others(move |signal| heard.lock().expect("no panic").push(signal));
        let mut rings = Rings::default();
        rings.add(Signal::Mail);
        rings.add(Signal::Outbox);
        wakes.ring(rings);
        wakes.wait(Signal::Mail).await;
        wakes.wait(Signal::Outbox).await;
        assert!(futures_util::poll!(Box::pin(wakes.wait(Signal::Steps))).is_pending());
        assert_eq!(*told.lock().expect("no panic"), [Signal::Mail, Signal::Outbox]);
    }

    #[test]
    fn each_signal_has_its_own_name_and_bell() {
        for (place, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(signal as usize, place);
            assert_eq!(Signal::named(signal.name()), Some(signal));
        }
    }
}
