//! Whoever changes what the door remembers tells it to forget: this process at once, the others by a hint. A lost hint costs a second,
//! for nothing is believed for longer.

use std::{
    hash::Hash,
    sync::{Arc, atomic::Ordering},
};

use moka::sync::Cache;
use uuid::Uuid;

use super::{Doorkeeper, Read};
use crate::kernel::{
    id::{ApiKeyId, Id, SessionId, UserId, WorkspaceId},
    redis::{Hint, Redis},
};

/// What is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forget {
    /// A person's memberships, roles and plans, and their keys.
    Person(UserId),
    /// What everybody is in a workspace.
    Workspace(WorkspaceId),
    /// A key.
    Key(ApiKeyId),
    /// A session.
    Session(SessionId),
    /// The sessions of a person.
    Sessions(UserId),
    /// Everything.
    All,
}

impl Forget {
    /// As others hear it.
    fn said(self) -> String {
        match self {
            Forget::Person(id) => format!("person {}", id.uuid()),
            Forget::Workspace(id) => format!("workspace {}", id.uuid()),
            Forget::Key(id) => format!("key {}", id.uuid()),
            Forget::Session(id) => format!("session {}", id.uuid()),
            Forget::Sessions(user) => format!("sessions {}", user.uuid()),
            Forget::All => "all".into(),
        }
    }

    /// What others said. What cannot be understood comes from a newer release, and means everything.
    fn heard(text: &str) -> Forget {
        let (what, which) = text.split_once(' ').unwrap_or((text, ""));
        match (what, which.parse::<Uuid>()) {
            ("person", Ok(id)) => Forget::Person(Id::from_uuid(id)),
            ("workspace", Ok(id)) => Forget::Workspace(Id::from_uuid(id)),
            ("key", Ok(id)) => Forget::Key(Id::from_uuid(id)),
            ("session", Ok(id)) => Forget::Session(Id::from_uuid(id)),
            ("sessions", Ok(id)) => Forget::Sessions(Id::from_uuid(id)),
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

    /// Forgets a workspace: everybody who is in it learns anew what it is called and what they are there.
    pub fn forget_workspace(&self, id: WorkspaceId) {
        self.forget_everywhere(Forget::Workspace(id));
    }

    /// Forgets a key: it was changed or revoked.
    pub fn forget_key(&self, id: ApiKeyId) {
        self.forget_everywhere(Forget::Key(id));
    }

    /// Forgets a session: it was renewed, proved again, or has ended.
    pub fn forget_session(&self, id: SessionId) {
        self.forget_everywhere(Forget::Session(id));
    }

    /// Forgets the sessions of a person.
    pub fn forget_sessions_of(&self, user: UserId) {
        self.forget_everywhere(Forget::Sessions(user));
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
                // Their keys may have ended with a membership.
                drop_from(&self.keys, |key| key.as_ref().is_some_and(|key| key.is_of(user)));
            }
            Forget::Workspace(id) => drop_from(&self.people, |person| person.is_in(id)),
            Forget::Key(id) => drop_from(&self.keys, |key| key.as_ref().is_some_and(|key| key.is(id))),
            Forget::Session(id) => self.sessions.invalidate(&id),
            Forget::Sessions(user) => drop_from(&self.sessions, |session| {
                session.as_ref().is_some_and(|session| session.is_of(user))
            }),
            Forget::All => {
                self.people.invalidate_all();
                self.keys.invalidate_all();
                self.sessions.invalidate_all();
            }
        }
    }
}

/// Drops what matches. A walk over some ten thousand entries that live for seconds is cheaper than asking the database again for all.
fn drop_from<K, V>(cache: &Cache<K, Arc<Read<V>>>, matches: impl Fn(&V) -> bool)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    for (key, read) in cache {
        if matches(&read.value) {
            cache.invalidate(&*key);
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
            Forget::Workspace(WorkspaceId::new(now)),
            Forget::Key(ApiKeyId::new(now)),
            Forget::Session(session),
            Forget::Sessions(user),
            Forget::All,
        ] {
            assert_eq!(Forget::heard(&what.said()), what);
        }
        for text in ["", "person", "person x", "keys", "sessions", "whatever comes next"] {
            assert_eq!(Forget::heard(text), Forget::All, "{text}");
        }
    }
}
