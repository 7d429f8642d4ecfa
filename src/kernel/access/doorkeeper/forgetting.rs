//! Whoever changes what the door remembers tells it to forget: this process at once, the others by a hint. A lost hint costs a second,
//! for nothing is believed for longer.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::Doorkeeper;
use crate::kernel::{
    id::{Id, SessionId, UserId},
    redis::{Hint, Redis},
};

/// What is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forget {
    /// A person's memberships, roles and plans, and the keys that carry their rights.
    Person(UserId),
    /// Keys.
    Keys,
    /// A session.
    Session(SessionId),
    /// All sessions: those of one person are not known apart.
    Sessions,
    /// Everything.
    All,
}

impl Forget {
    /// As others hear it.
    fn said(self) -> String {
        match self {
            Forget::Person(id) => format!("person {}", id.uuid()),
            Forget::Keys => "keys".into(),
            Forget::Session(id) => format!("session {}", id.uuid()),
            Forget::Sessions => "sessions".into(),
            Forget::All => "all".into(),
        }
    }

    /// What others said. What cannot be understood comes from a newer release, and means everything.
    fn heard(text: &str) -> Forget {
        let (what, which) = text.split_once(' ').unwrap_or((text, ""));
        match (what, which.parse::<Uuid>()) {
            ("person", Ok(id)) => Forget::Person(Id::from_uuid(id)),
            ("session", Ok(id)) => Forget::Session(Id::from_uuid(id)),
            ("keys", _) => Forget::Keys,
            ("sessions", _) => Forget::Sessions,
            _ => Forget::All,
        }
    }
}

/// The channel that it goes over.
const CHANNEL: &str = "forget";

impl Doorkeeper {
    /// Forgets what is remembered of a person: their memberships, roles, plans.
    pub fn forget_person(&self, user: UserId) {
        self.forget_everywhere(Forget::Person(user));
    }

    /// Forgets what is remembered of keys.
    pub fn forget_keys(&self) {
        self.forget_everywhere(Forget::Keys);
    }

    /// Forgets a session: it was renewed, proved again, or has ended.
    pub fn forget_session(&self, id: SessionId) {
        self.forget_everywhere(Forget::Session(id));
    }

    /// Forgets the sessions of a person.
    pub fn forget_sessions_of(&self, user: UserId) {
        let _all = user;
        self.forget_everywhere(Forget::Sessions);
    }

    /// Forgets everything: after a change whose people are not known here.
    pub fn forget_all(&self) {
        self.forget_everywhere(Forget::All);
    }

    /// Tells other processes what to forget, and hears what they say.
    pub fn join(self: &Arc<Self>, redis: &Redis) {
        let mut heard = redis.listen(CHANNEL);
        if self.abroad.set(redis.clone()).is_err() {
            tracing::warn!("the door already speaks with other processes; the second road is not used");
            return;
        }
        let door = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let hint = heard.next().await;
                let Some(door) = door.upgrade() else { return };
                door.forget(match &hint {
                    Hint::Missed => Forget::All,
                    Hint::Said(text) => Forget::heard(text),
                });
            }
        });
    }

    fn forget_everywhere(&self, what: Forget) {
        self.forget(what);
        if let Some(redis) = self.abroad.get() {
            redis.hint(CHANNEL, &what.said());
        }
    }

    fn forget(&self, what: Forget) {
        self.revision.fetch_add(1, Ordering::SeqCst);
        match what {
            Forget::Person(user) => {
                self.people.invalidate(&user);
                // A personal key carries its owner's rights.
                self.keys.invalidate_all();
            }
            Forget::Keys => self.keys.invalidate_all(),
            Forget::Session(id) => self.sessions.invalidate(&id),
            Forget::Sessions => self.sessions.invalidate_all(),
            Forget::All => {
                self.people.invalidate_all();
                self.keys.invalidate_all();
                self.sessions.invalidate_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::Clock;

    #[test]
    fn what_one_process_says_the_others_understand() {
        let now = Clock::system().now();
        let (user, session) = (UserId::new(now), SessionId::new(now));
        for what in [
            Forget::Person(user),
            Forget::Keys,
            Forget::Session(session),
            Forget::Sessions,
            Forget::All,
        ] {
            assert_eq!(Forget::heard(&what.said()), what);
        }
        for text in ["", "person", "person x", "whatever comes next"] {
            assert_eq!(Forget::heard(text), Forget::All, "{text}");
        }
    }
}
