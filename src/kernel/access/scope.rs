//! Who is calling, about what, and the proof that they were admitted.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::kernel::{
    entitlements::Plan,
    gate::Place,
    id::{
        ApiKeyId, CustomerId, GrantId, JobId, LicenseId, ResellerId, SessionId, TriggerId, UserId, WorkspaceId, public,
    },
    trace::Trace,
};

/// Who acts. Also the author in audit entries and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person, perhaps with a member of the operator's staff acting for them.
    User { id: UserId, impersonator: Option<UserId> },
    /// An API key.
    ApiKey(ApiKeyId),
    /// A third-party program that a person allowed in.
    Grant(GrantId),
    /// A URL that starts runs.
    Trigger(TriggerId),
    /// A job of the queue.
    Job(JobId),
    /// The customer's software, by its licence key.
    License(LicenseId),
    /// A customer as a person.
    Customer(CustomerId),
    /// Somebody without a credential.
    Visitor,
    /// Guildhall itself.
    System,
}

impl Actor {
    /// What kind of actor, as events and audit entries hold it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Actor::User { .. } => "user",
            Actor::ApiKey(_) => "api_key",
            Actor::Grant(_) => "grant",
            Actor::Trigger(_) => "trigger",
            Actor::Job(_) => "job",
            Actor::License(_) => "license",
            Actor::Customer(_) => "customer",
            Actor::Visitor => "visitor",
            Actor::System => "system",
        }
    }

    /// Which one, where it has an id.
    pub const fn uuid(&self) -> Option<Uuid> {
        match self {
            Actor::User { id, .. } => Some(id.uuid()),
            Actor::ApiKey(id) => Some(id.uuid()),
            Actor::Grant(id) => Some(id.uuid()),
            Actor::Trigger(id) => Some(id.uuid()),
            Actor::Job(id) => Some(id.0),
            Actor::License(id) => Some(id.uuid()),
            Actor::Customer(id) => Some(id.uuid()),
            Actor::Visitor | Actor::System => None,
        }
    }

    /// The public id, `usr_…`, where it has one.
    pub fn public_id(&self) -> Option<String> {
        match self {
            Actor::User { id, .. } => Some(id.to_string()),
            Actor::ApiKey(id) => Some(id.to_string()),
            Actor::Grant(id) => Some(id.to_string()),
            Actor::Trigger(id) => Some(id.to_string()),
            Actor::Job(id) => Some(public("job", id.0)),
            Actor::License(id) => Some(id.to_string()),
            Actor::Customer(id) => Some(id.to_string()),
            Actor::Visitor | Actor::System => None,
        }
    }
}

/// The public id of an actor that a row remembers by its kind and UUID.
pub fn public_id(kind: &str, id: Uuid) -> Option<String> {
    Some(match kind {
        "user" => UserId::from_uuid(id).to_string(),
        "api_key" => ApiKeyId::from_uuid(id).to_string(),
        "grant" => GrantId::from_uuid(id).to_string(),
        "trigger" => TriggerId::from_uuid(id).to_string(),
        "license" => LicenseId::from_uuid(id).to_string(),
        "customer" => CustomerId::from_uuid(id).to_string(),
        "job" => public("job", id),
        _ => return None,
    })
}

/// The class of work that a call belongs to: which pool, how many at once, how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Finding out who calls.
    Credential,
    /// Refresh, `/me`, whatever else is an account's.
    Account,
    /// Sign-in and sign-up: whatever hashes a password, which takes longer than all the rest.
    Password,
    /// Events of payment providers.
    Ingress,
    /// Everything else that a request does.
    Interactive,
    /// Exports, searches, bulk work.
    Long,
    /// What keeps a processor busy and asks no database.
    Cpu,
    /// What the worker does.
    Job,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 8] = [
        Class::Credential,
        Class::Account,
        Class::Password,
        Class::Ingress,
        Class::Interactive,
        Class::Long,
        Class::Cpu,
        Class::Job,
    ];

    /// The class of requests that has this name.
    pub fn of_requests(name: &str) -> Option<Class> {
        let of_requests = |class: &Class| !matches!(class, Class::Credential | Class::Job);
        Class::ALL
            .into_iter()
            .filter(of_requests)
            .find(|class| class.name() == name)
    }

    /// How long a handler of the class may take.
    pub const fn time(self) -> Duration {
        Duration::from_secs(match self {
            Class::Credential | Class::Account | Class::Interactive | Class::Cpu => 2,
            // Hashing a password may wait in line for two seconds before it begins.
            Class::Password => 4,
            Class::Ingress => 3,
            Class::Long | Class::Job => 30,
        })
    }

    /// As `x-admission` and the metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Credential => "credential",
            Class::Account => "account",
            Class::Password => "password",
            Class::Ingress => "ingress",
            Class::Interactive => "interactive",
            Class::Long => "long",
            Class::Cpu => "cpu",
            Class::Job => "job",
        }
    }
}

/// One call, from the front door to the last statement it causes.
#[derive(Clone, Debug)]
pub struct Call {
    /// Names it in logs, events, audit entries, jobs: `req_…`, or what a trusted proxy calls it.
    pub request_id: Arc<str>,
    /// The W3C trace, continued or new.
    pub trace: Trace,
    /// The operation's name in the OpenAPI document, or the job's kind.
    pub operation: &'static str,
    /// The class of work.
    pub class: Class,
    /// When the answer must be there.
    pub deadline: Instant,
    /// A `GET`: the database refuses writes.
    pub read_only: bool,
    /// What a workspace may do that owes: look, pay, export, delete, and serve its own customers.
    pub works_unpaid: bool,
    /// What a workspace may do that the operator suspended: pay, and take its data along.
    pub works_suspended: bool,
    /// The session that the credential belongs to.
    pub session: Option<SessionId>,
    /// Where it came from.
    pub ip: Option<IpAddr>,
    /// What the caller's program says it is.
    pub user_agent: Option<String>,
    /// Its place inside the admission gate; none for calls of our own.
    pub place: Option<Arc<Place>>,
}

impl Call {
    /// What is left until the deadline.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Gives up its place in the admission gate before it waits for something that is not ours. Whatever it wants of the database afterwards
    /// has to find a place again.
    pub fn step_out(&self) {
        if let Some(place) = &self.place {
            place.leave();
        }
    }

    /// The same as work of another class, which has to find a place of its own and may take so long from now on.
    fn outside(&self, class: Class, within: Duration) -> Call {
        Call {
            class,
            deadline: Instant::now() + within,
            place: None,
            ..self.clone()
        }
    }

    /// A call of our own: no caller, no request.
    pub fn internal(operation: &'static str, request_id: Arc<str>) -> Call {
        Call {
            request_id,
            trace: Trace::new(),
            operation,
            class: Class::Job,
            deadline: Instant::now() + Duration::from_secs(30),
            read_only: false,
            works_unpaid: true,
            works_suspended: true,
            session: None,
            ip: None,
            user_agent: None,
            place: None,
        }
    }
}

/// How far an actor reaches inside the workspace. Nothing set: everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Only this reseller's rows.
    pub reseller: Option<ResellerId>,
    /// Only this customer's rows.
    pub customer: Option<CustomerId>,
}

/// Proof of admission to a workspace. Its fields are private and it is minted in the kernel only, so whoever holds one was let in.
#[derive(Clone, Debug)]
pub struct Scope {
    workspace: WorkspaceId,
    actor: Actor,
    reach: Reach,
    plan: Arc<Plan>,
    call: Arc<Call>,
}

impl Scope {
    /// Mints a scope. The caller has established who acts, and that they may act here.
    pub(in crate::kernel) fn grant(
        workspace: WorkspaceId,
        actor: Actor,
        reach: Reach,
        plan: Arc<Plan>,
        call: Arc<Call>,
    ) -> Scope {
        Scope {
            workspace,
            actor,
            reach,
            plan,
            call,
        }
    }

    /// The same for what is written about the call once it is over, within that time.
    pub(in crate::kernel) fn afterwards(&self, within: Duration) -> Scope {
        self.with(Call {
            read_only: false,
            ..self.call.outside(Class::Job, within)
        })
    }

    /// The same for a part of an export, which may take as long as one who asks for much may wait.
    pub(in crate::kernel) fn of_export(&self) -> Scope {
        self.with(self.call.outside(Class::Long, Class::Long.time()))
    }

    /// The same for writing down that everything was taken along.
    pub(in crate::kernel) fn of_record(&self) -> Scope {
        self.with(Call {
            read_only: false,
            ..Call::clone(&self.call)
        })
    }

    fn with(&self, call: Call) -> Scope {
        Scope {
            call: Arc::new(call),
            ..self.clone()
        }
    }

    /// The tenant.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Who acts.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// How far the actor reaches.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// What the workspace's plan allows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The call that this is about.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_has_a_public_id_of_the_same_form() {
        let id = Uuid::from_u128(7);
        for kind in ["user", "api_key", "grant", "trigger", "license", "customer", "job"] {
            let shown = public_id(kind, id).expect("they have one");
            let (prefix, same) = crate::kernel::id::parts(&shown).expect("a TypeID");
            assert_eq!((prefix.len(), same), (3, id), "{shown}");
        }
        assert_eq!(Actor::Job(JobId(id)).public_id(), public_id("job", id));
        assert_eq!(public_id("system", id), None);
    }
}
