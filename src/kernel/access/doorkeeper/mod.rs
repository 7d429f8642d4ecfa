//! Finds out who calls: a credential becomes an actor, an actor and a workspace become an [`Access`]. What it read is believed for a
//! second at most, counted from before the read; whoever changes something here tells it to forget at once.

mod forgetting;
mod keys;
mod licenses;
mod memberships;
mod queries;
mod sessions;
mod sightings;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use self::{
    keys::KnownKey,
    licenses::Directory,
    memberships::{KnownPerson, Membership},
    sessions::KnownSession,
    sightings::Sightings,
};
use crate::kernel::{
    access::{Access, Call, Caller, Class, Person, Reach, Scope},
    clock::Clock,
    config::KeyMode,
    db::Db,
    error::{
        AMBIGUOUS_CREDENTIALS, Error, INTERNAL, NOT_FOUND, Problem, Result, UNAUTHENTICATED, WORKSPACE_REQUIRED,
        WORKSPACE_SUSPENDED,
    },
    id::{SessionId, UserId, WorkspaceId},
    identity::{Issuer, Keys},
    redis::Redis,
    secret::Secret,
};
use moka::sync::Cache;

pub use licenses::{LICENSE_UNKNOWN, PROBLEMS};

/// What a request shows.
#[derive(Clone, PartialEq)]
pub enum Credential {
    /// Nothing.
    None,
    /// `Authorization: Bearer`, or the session cookie: an access token.
    Token(Secret<String>),
    /// `Authorization: Bearer gld_…` or `X-Api-Key`.
    Key(Secret<String>),
    /// `Authorization: License …`.
    License(Secret<String>),
    /// More than one.
    Several,
}

/// How long what was read is believed.
const BELIEF: Duration = Duration::from_secs(1);
/// How long a key that does not exist is known not to.
const ABSENCE: Duration = Duration::from_secs(5);

/// Judges credentials. One per process.
pub struct Doorkeeper {
    db: Db,
    clock: Clock,
    mode: KeyMode,
    people: Cache<UserId, Arc<Read<KnownPerson>>>,
    keys: Cache<[u8; 32], Arc<Read<Option<KnownKey>>>>,
    directory: Directory,
    sessions: Cache<SessionId, Arc<Read<Option<KnownSession>>>>,
    sightings: Sightings,
    /// Proves access tokens.
    signing: Keys,
    issuer: Issuer,
    /// How other processes hear what to forget.
    abroad: OnceLock<Redis>,
    /// Rises with everything that is forgotten: what was read before must not be remembered after.
    revision: AtomicU64,
}

/// Something that was read, and when the reading began.
struct Read<T> {
    value: T,
    began: Instant,
}

impl Doorkeeper {
    /// A doorkeeper of this database.
    pub fn new(db: Db, clock: Clock, mode: KeyMode, signing: Keys, issuer: Issuer) -> Doorkeeper {
        Doorkeeper {
            db,
            clock,
            mode,
            people: Cache::builder().max_capacity(10_000).time_to_live(ABSENCE).build(),
            keys: Cache::builder().max_capacity(10_000).time_to_live(ABSENCE).build(),
            directory: Directory::new(),
            sessions: Cache::builder().max_capacity(50_000).time_to_live(ABSENCE).build(),
            sightings: Sightings::default(),
            signing,
            issuer,
            abroad: OnceLock::new(),
            revision: AtomicU64::new(0),
        }
    }

    /// Judges what a request shows. `workspace` is the header, as sent; `fresh` asks the database whatever is remembered.
    pub(in crate::kernel) async fn judge(
        &self,
        credential: &Credential,
        workspace: Option<&str>,
        call: Call,
        fresh: bool,
    ) -> Caller {
        let call = Arc::new(call);
        let shown = match credential {
            Credential::License(key) => self.license_hash(key.expose()),
            _ => None,
        };
        let verdict = match credential {
            Credential::None => return Caller::refused(call, UNAUTHENTICATED.into(), shown),
            Credential::Several => return Caller::refused(call, AMBIGUOUS_CREDENTIALS.into(), shown),
            Credential::Key(key) => self.judge_key(key.expose(), workspace, &call, fresh).await,
            Credential::License(_) => self.judge_license(shown, &call).await,
            Credential::Token(token) => self.judge_token(token.expose(), workspace, &call, fresh).await,
        };
        match verdict {
            Ok((person, access)) => {
                let licensed = || access.as_ref().ok().map(|access| access.scope().call().clone());
                let known = person.as_ref().ok().map(|person| person.call.clone());
                Caller {
                    call: known.or_else(licensed).unwrap_or(call),
                    person,
                    access,
                    shown,
                }
            }
            Err(error) => Caller::refused(call, told(error), shown),
        }
    }

    /// Whether this deployment's credentials are live or test ones.
    pub fn mode(&self) -> KeyMode {
        self.mode
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Remembers what was read, unless something was forgotten since the reading began.
    fn remember(&self, since: u64, insert: impl FnOnce()) {
        if self.revision() == since {
            insert();
        }
    }

    /// The person's memberships, from memory or from the database.
    async fn person(&self, user: UserId, call: &Call, fresh: bool) -> Result<Arc<Read<KnownPerson>>> {
        if let Some(known) = self
            .people
            .get(&user)
            .filter(|known| !fresh && known.began.elapsed() < BELIEF)
        {
            return Ok(known);
        }
        let (began, revision) = (Instant::now(), self.revision());
        let call = looking(call);
        let asked = self.db.unscoped(&call, move |tx| memberships::load(tx, user));
        let value = Box::pin(asked).await?;
        let read = Arc::new(Read { value, began });
        self.remember(revision, || self.people.insert(user, read.clone()));
        Ok(read)
    }

    /// What a person may do in the workspace that the header names, or in their only one.
    fn admit(
        &self,
        person: &KnownPerson,
        header: Option<&str>,
        call: &Arc<Call>,
        actor: super::Actor,
    ) -> Result<Access, Problem> {
        let membership = match header {
            Some(named) if person.find(named).is_none() && crate::leak!("header-before-membership") => {
                let (own, other) = (
                    person.memberships.first().ok_or(NOT_FOUND)?,
                    named.parse().ok().ok_or(NOT_FOUND)?,
                );
                return Ok(own.leak_into(other, actor, call));
            }
            Some(named) if person.find(named).is_none() && crate::leak!("staff-everywhere") => {
                let own = person
                    .memberships
                    .first()
                    .filter(|own| own.workspace == WorkspaceId::PLATFORM);
                return Ok(own
                    .ok_or(NOT_FOUND)?
                    .leak_into(named.parse().ok().ok_or(NOT_FOUND)?, actor, call));
            }
            Some(named) => person.find(named).ok_or(NOT_FOUND)?,
            None => person
                .only()
                .ok_or_else(|| WORKSPACE_REQUIRED.with("workspaces", person.choices()))?,
        };
        self.enter(membership, actor, call)
    }

    /// Lets somebody into a workspace, and notes that they were there.
    fn enter(&self, membership: &Membership, actor: super::Actor, call: &Arc<Call>) -> Result<Access, Problem> {
        let access = membership.admit(actor, call)?;
        let is_themselves = !matches!(
            actor,
            super::Actor::User {
                impersonator: Some(_),
                ..
            }
        );
        if is_themselves {
            let (member, seen) = ((membership.workspace, membership.id), membership.last_active_at);
            self.sightings.member(member, seen, self.clock.now());
        }
        Ok(access)
    }
}

/// Looking somebody up is work of its own class, whatever the operation.
fn looking(call: &Call) -> Call {
    Call {
        class: Class::Credential,
        read_only: true,
        ..call.clone()
    }
}

/// What the caller learns of an error that kept us from judging: never 401 or 403 for our own trouble.
fn told(error: Error) -> Problem {
    match error {
        Error::Refused(problem) => *problem,
        Error::Broken(error) => {
            tracing::error!(error = format!("{error:?}"), "a credential could not be judged");
            INTERNAL.into()
        }
    }
}

impl Membership {
    /// The mistake of believing the workspace that a request names.
    fn leak_into(&self, workspace: WorkspaceId, actor: super::Actor, call: &Arc<Call>) -> Access {
        let scope = Scope::grant(workspace, actor, Reach::default(), self.plan.clone(), call.clone());
        Access::new(scope, self.permissions)
    }

    /// What is left to the people of a suspended workspace, and to none of its keys: to pay and to take their data along, and to its owners to
    /// look.
    fn may_settle(&self, actor: super::Actor, call: &Call) -> bool {
        let is_person = matches!(actor, super::Actor::User { .. });
        is_person && (call.works_suspended || (self.owner && call.read_only))
    }

    /// The access that this membership gives its person.
    fn admit(&self, actor: super::Actor, call: &Arc<Call>) -> Result<Access, Problem> {
        if self.workspace_suspended && !self.may_settle(actor, call) {
            return Err(WORKSPACE_SUSPENDED.into());
        }
        let reach = Reach {
            reseller: self.reseller,
            customer: None,
        };
        let scope = Scope::grant(self.workspace, actor, reach, self.plan.clone(), call.clone());
        Ok(Access::new(scope, self.permissions))
    }
}

/// Either part of a verdict may be a refusal: `/me` needs no workspace.
type Verdict = Result<(Result<Person, Problem>, Result<Access, Problem>)>;
