//! Hints: "look again". A hint may be lost, so nothing depends on one; with Redis it reaches every process, without it only this one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use deadpool_redis::redis::{self, Client, RedisResult};
use futures_util::StreamExt;
use tokio::sync::{Notify, broadcast, mpsc};
use uuid::Uuid;

use super::{Redis, Server};

/// Hints that wait to be sent. Beyond it they are dropped: they are only hints.
const WAITING: usize = 1_024;
/// Hints that a slow listener may fall behind before it is told that it missed some.
const BEHIND: usize = 256;
/// How long a silent subscription is believed to be alive.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the server may take to confirm a subscription.
const CONFIRM: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Somebody said this.
    Said(Arc<str>),
    /// Hints may have been lost, or the subscription has just begun: look for yourself.
    Missed,
}

/// Hears the hints of one channel.
pub struct Listener(broadcast::Receiver<Hint>);

impl Listener {
    /// The next hint.
    pub async fn next(&mut self) -> Hint {
        match self.0.recv().await {
            Ok(hint) => hint,
            Err(broadcast::error::RecvError::Lagged(_)) => Hint::Missed,
            // The client that it listened to is gone: nothing will ever be said again.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Who listens to what in this process.
pub(super) struct Hints {
    /// Tells one's own hints, which were delivered at once, from others'.
    origin: String,
    channels: Mutex<HashMap<Arc<str>, broadcast::Sender<Hint>>>,
    /// Rings when there is a new channel to subscribe to, and when this ends.
    changed: Arc<Notify>,
    outgoing: OnceLock<mpsc::Sender<(String, String)>>,
    subscribed: OnceLock<()>,
}

impl Redis {
    /// Tells every process that listens to `channel`, this one at once. Never waits and never fails: a hint may be lost.
    pub fn hint(&self, channel: &str, payload: &str) {
        self.hints.deliver(channel, &Hint::Said(payload.into()));
        let Some(server) = &self.server else { return };
        let outgoing = self.hints.outgoing.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(WAITING);
            server.spawn(publish(self.without_hints(), receiver));
            sender
        });
        let _full = outgoing.try_send((channel.to_owned(), format!("{}\n{payload}", self.hints.origin)));
    }

    /// Listens to a channel. The first hint is [`Hint::Missed`] once other processes are heard too.
    pub fn listen(&self, channel: &str) -> Listener {
        let listener = self.hints.join(channel);
        if let Some(server) = &self.server {
            self.hints.subscribed.get_or_init(|| {
                let (server, hints) = (Arc::downgrade(server), Arc::downgrade(&self.hints));
                if let Some(strong) = server.upgrade() {
                    strong.spawn(subscribe(server, hints, self.hints.changed.clone()));
                }
            });
        }
        Listener(listener)
    }

    /// The same server for a background task, which must not keep the hints alive that keep it alive.
    fn without_hints(&self) -> Redis {
        Redis {
            server: self.server.clone(),
            hints: Arc::default(),
        }
    }
}

impl Default for Hints {
    fn default() -> Hints {
        Hints {
            origin: Uuid::new_v4().to_string(),
            channels: Mutex::default(),
            changed: Arc::default(),
            outgoing: OnceLock::new(),
            subscribed: OnceLock::new(),
        }
    }
}

impl Hints {
    fn join(&self, channel: &str) -> broadcast::Receiver<Hint> {
        let mut channels = self.channels.lock().expect("no panic while holding it");
        let sender = channels
            .entry(channel.into())
            .or_insert_with(|| broadcast::channel(BEHIND).0);
        let receiver = sender.subscribe();
        self.changed.notify_one();
        receiver
    }

    fn deliver(&self, channel: &str, hint: &Hint) {
        if let Some(sender) = self.channels.lock().expect("no panic while holding it").get(channel) {
            let _nobody = sender.send(hint.clone());
        }
    }

    /// The channels that somebody still listens to. The others are forgotten.
    fn wanted(&self) -> HashSet<Arc<str>> {
        let mut channels = self.channels.lock().expect("no panic while holding it");
        channels.retain(|_, sender| sender.receiver_count() > 0);
        channels.keys().cloned().collect()
    }

    fn missed(&self) {
        let channels = self.channels.lock().expect("no panic while holding it");
        channels.values().for_each(|sender| {
            let _nobody = sender.send(Hint::Missed);
        });
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// Sends what waits, until the client that it waits in is gone.
async fn publish(redis: Redis, mut waiting: mpsc::Receiver<(String, String)>) {
    while let Some((channel, message)) = waiting.recv().await {
        let sent = redis.ask::<i64>("hint", |prefix| {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(address(prefix, &channel)).arg(message);
            publish
        });
        let _lost = sent.await;
    }
}

fn address(prefix: &str, channel: &str) -> String {
    format!("{prefix}:hint:{channel}")
}

/// Keeps one subscription alive for all listeners of the process.
async fn subscribe(server: Weak<Server>, hints: Weak<Hints>, changed: Arc<Notify>) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let Some((client, prefix)) = server.upgrade().map(|it| (it.client.clone(), it.prefix.clone())) else {
            return;
        };
        let mut session = Session {
            client,
            prefix,
            hints: hints.clone(),
            changed: changed.clone(),
            heard: false,
        };
        if session.run().await.is_ok() {
            return;
        }
        pause = match session.heard {
            true => SHORTEST_PAUSE,
            false => (pause * 2).min(LONGEST_PAUSE),
        };
        match hints.upgrade() {
            Some(hints) => hints.missed(),
            None => return,
        }
        tokio::time::sleep(pause).await;
    }
}

/// One connection's worth of listening.
struct Session {
    client: Client,
    prefix: Box<str>,
    hints: Weak<Hints>,
    changed: Arc<Notify>,
    /// Whether the connection was of any use.
    heard: bool,
}

impl Session {
    /// Listens until nobody is left to listen for (`Ok`) or the connection fails (`Err`).
    async fn run(&mut self) -> RedisResult<()> {
        let connecting = tokio::time::timeout(super::CONNECT, self.client.get_async_pubsub());
        let (mut sink, mut stream) = connecting.await.map_err(|_| late())??.split();
        let mut subscribed: HashSet<Arc<str>> = HashSet::new();
        loop {
            let Some(wanted) = self.hints.upgrade().map(|hints| hints.wanted()) else {
                return Ok(());
            };
            for channel in wanted.difference(&subscribed) {
                confirmed(sink.subscribe(address(&self.prefix, channel))).await?;
                self.heard = true;
                // Whatever was said before this moment is lost.
                self.deliver(channel, &Hint::Missed);
            }
            for channel in subscribed.difference(&wanted) {
                confirmed(sink.unsubscribe(address(&self.prefix, channel))).await?;
            }
            subscribed = wanted;
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.pass_on(&message),
                    None => return Err(late()),
                },
                () = self.changed.notified() => {}
                () = tokio::time::sleep(SILENCE) => { confirmed(sink.ping::<redis::Value>()).await?; }
            }
        }
    }

    fn pass_on(&self, message: &redis::Msg) {
        let start = address(&self.prefix, "");
        let (Some(channel), Ok(text)) = (
            message.get_channel_name().strip_prefix(&start),
            message.get_payload::<String>(),
        ) else {
            return;
        };
        if let (Some((origin, payload)), Some(hints)) = (text.split_once('\n'), self.hints.upgrade())
            && origin != hints.origin
        {
            hints.deliver(channel, &Hint::Said(payload.into()));
        }
    }

    fn deliver(&self, channel: &str, hint: &Hint) {
        if let Some(hints) = self.hints.upgrade() {
            hints.deliver(channel, hint);
        }
    }
}

async fn confirmed<T>(asked: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(CONFIRM, asked).await.map_err(|_| late())?
}

fn late() -> redis::RedisError {
    (redis::ErrorKind::Io, "the subscription ended").into()
}
