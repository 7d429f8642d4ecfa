//! Every change that others may care about is an event, written in the transaction that made the change, with its audit entry beside it.

mod catalogue;
mod queries;
mod relay;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use catalogue::{Audience, Catalogue, EventInfo, EventType};
pub use queries::Event;
pub use relay::Relay;

use crate::kernel::{
    access::{Actor, Call, public_id},
    audit::{self, Entry, Subject},
    clock,
    crypto::sha256,
    db::{Kernel, Tenant},
    error::Result,
    http::front::API_VERSION,
    id::{CustomerId, EventId, Id, ResellerId, Resource, WorkspaceId},
    wake::Signal,
};

/// An event that is about to be written.
pub struct Emission {
    info: &'static EventInfo,
    subject: Subject,
    data: Value,
    previous: Option<Value>,
    /// What the audit entry says.
    changes: Map<String, Value>,
}

/// Larger data is sent as a pointer to itself.
const FULL: usize = 256 * 1_024;

impl<T: Serialize> EventType<T> {
    /// This event about `subject`, whose present state is `data`: exactly what a `GET` shows, so never a secret.
    pub fn of<R: Resource>(self, subject: Id<R>, data: &T) -> Emission {
        let data = serde_json::to_value(data).expect("resources are plain values");
        Emission {
            info: self.info,
            subject: Subject::of(self.info.resource(), subject),
            data,
            previous: None,
            changes: Map::new(),
        }
    }
}

impl Emission {
    /// What it was before: the event then tells the changed fields' old values, and the audit entry the old and the new ones.
    pub fn was(mut self, before: &impl Serialize) -> Emission {
        let old = self.otherwise(before);
        self.tell(&old);
        self.previous = Some(Value::Object(old));
        self
    }

    /// What it was before, for the audit log alone: the name of the event tells receivers what became of it.
    pub fn after(mut self, before: &impl Serialize) -> Emission {
        let old = self.otherwise(before);
        self.tell(&old);
        self
    }

    /// The fields that are otherwise now, as they were.
    fn otherwise(&self, before: &impl Serialize) -> Map<String, Value> {
        let before = serde_json::to_value(before).expect("resources are plain values");
        let fields = before.as_object().into_iter().flatten();
        let changed = fields.filter(|(field, old)| {
            !matches!(field.as_str(), "version" | "updated_at") && self.data.get(field.as_str()) != Some(*old)
        });
        changed.map(|(field, old)| (field.clone(), old.clone())).collect()
    }

    fn tell(&mut self, old: &Map<String, Value>) {
        for (field, old) in old {
            let changed = match self.info.personal.contains(&field.as_str()) {
                true => json!("[changed]"),
                false => json!([short(old), short(self.data.get(field.as_str()).unwrap_or(&Value::Null))]),
            };
            self.changes.insert(field.clone(), changed);
        }
    }

    /// Something that was said with the change, for the audit log alone: the event shows what a `GET` shows.
    pub fn noting(self, name: &str, said: Option<impl Serialize>) -> Emission {
        match said {
            Some(said) => self.moving(name, None::<()>, said),
            None => self,
        }
    }

    /// Something that the data does not show as a field of its own, from what to what, for the audit log alone.
    pub fn moving(mut self, name: &str, from: impl Serialize, to: impl Serialize) -> Emission {
        self.changes.insert(name.to_owned(), json!([from, to]));
        self
    }

    /// That a secret is another one, for the audit log alone.
    pub fn hiding(mut self, name: Option<&str>) -> Emission {
        self.changes
            .extend(name.map(|name| (name.to_owned(), json!("[changed]"))));
        self
    }

    /// Whose row the subject is, where the row says so.
    fn owner<R: Resource>(&self, field: &str) -> Option<Id<R>> {
        self.data.get(field)?.as_str()?.parse().ok()
    }
}

/// The longest value that the audit log tells as it is, in bytes of its JSON.
const LONG: usize = 4 << 10;

/// A value as the audit log tells it: a long one by its hash, which tells whether it is the same as another.
fn short(value: &Value) -> Value {
    let text = value.to_string();
    match text.len() {
        ..=LONG => value.clone(),
        bytes => json!({ "bytes": bytes, "sha256": hex::encode(sha256(text.as_bytes())) }),
    }
}

/// Writes the event, its audit entry if the catalogue says so, and its place in the queue.
///
/// # Errors
/// 503 if the database fails.
pub fn emit(tx: &mut Tenant<'_>, event: Emission) -> Result<EventId> {
    let (workspace, actor, call) = (tx.workspace(), tx.scope().actor(), tx.scope().call().clone());
    let now = tx.now()?;
    tx.wake(Signal::Outbox);
    write(tx.conn(), workspace, actor, &call, event, now)
}

/// The same before a workspace is known; the event belongs to the workspace that is named.
///
/// # Errors
/// 503 if the database fails.
pub(in crate::kernel) fn emit_in(
    tx: &mut Kernel<'_>,
    workspace: WorkspaceId,
    actor: Actor,
    call: &Call,
    event: Emission,
) -> Result<EventId> {
    let now = tx.now()?;
    tx.wake(Signal::Outbox);
    write(tx.conn(), workspace, actor, call, event, now)
}

fn write(
    conn: &mut diesel::PgConnection,
    workspace: WorkspaceId,
    actor: Actor,
    call: &Call,
    event: Emission,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<EventId> {
    let id = EventId::new(now);
    let (reseller, customer) = (event.owner("reseller_id"), event.owner("customer_id"));
    if event.info.audience.audit {
        // Of `was`, `after`, `noting`, `moving` and `hiding` one was forgotten: tests end at that, and no user's request.
        if !event.info.says_all() && event.changes.is_empty() {
            let event = event.info.name;
            if cfg!(feature = "lab") {
                panic!("{event} says not what was done");
            }
            tracing::error!(event, "an entry of the audit log says not what was done");
        }
        let entry = Entry {
            action: event.info.name,
            subject: Some(event.subject),
            changes: event.changes.into(),
            reseller,
            customer,
            ..Entry::default()
        };
        audit::write(conn, workspace, actor, call, entry, now)?;
    }
    let thin = event.data.to_string().len() > FULL;
    let data = if thin { event.info.kept(&event.data) } else { event.data };
    queries::insert(
        conn,
        &queries::NewEvent {
            workspace_id: workspace,
            id,
            kind: event.info.name,
            api_version: API_VERSION,
            actor_type: actor.kind(),
            actor_id: actor.uuid(),
            subject_id: event.subject.id,
            request_id: &call.request_id,
            traceparent: call.trace.header(),
            data,
            previous: event.previous.filter(|_| !thin),
            thin,
            reseller_id: reseller.map(|id: ResellerId| id.uuid()),
            customer_id: customer.map(|id: CustomerId| id.uuid()),
            created_at: now,
        },
    )?;
    Ok(id)
}

/// An event of the workspace.
///
/// # Errors
/// 404 if it is not there (any more).
pub fn find(tx: &mut Tenant<'_>, event: EventId) -> Result<Event> {
    Ok(queries::find(tx.conn(), event)?)
}

/// Several events of the workspace, in the order in which they were written. What is not there is left out.
///
/// # Errors
/// 503 if the database fails.
pub fn find_all(tx: &mut Tenant<'_>, events: &[EventId]) -> Result<Vec<Event>> {
    Ok(queries::load(tx.conn(), events)?)
}

impl Event {
    /// The event as receivers see it.
    pub fn envelope(&self) -> Value {
        let mut envelope = json!({
            "id": self.id,
            "type": self.kind,
            "timestamp": clock::written(self.created_at),
            "api_version": self.api_version,
            "workspace_id": self.workspace_id,
            "actor": { "type": self.actor_type, "id": self.actor() },
            "request_id": self.request_id,
            "data": self.data,
        });
        if let Some(previous) = &self.previous {
            envelope["previous"] = previous.clone();
        }
        if self.thin {
            envelope["thin"] = true.into();
        }
        envelope
    }

    /// The actor's public id, where it has one.
    fn actor(&self) -> Option<String> {
        let id = self.actor_id?;
        public_id(&self.actor_type, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, utoipa::ToSchema)]
    pub struct Pet {
        name: &'static str,
        legs: u8,
        version: u8,
    }

    crate::events! {
        /// A pet was renamed.
        pub PET_UPDATED: Pet = "pet.updated", group "pets", filterable ["pet_id"], audience [audit, webhook];
    }

    #[test]
    fn an_update_tells_the_old_values_of_what_changed() {
        let event = PET_UPDATED
            .of(
                Id::<crate::kernel::id::User>::nil(),
                &Pet {
                    name: "Tim",
                    legs: 4,
                    version: 2,
                },
            )
            .was(&Pet {
                name: "Tom",
                legs: 4,
                version: 1,
            });
        assert_eq!(event.previous, Some(json!({ "name": "Tom" })));
        assert_eq!(Value::from(event.changes), json!({ "name": ["Tom", "Tim"] }));
        assert_eq!(EVENTS.len(), 1);
        assert_eq!(
            (EVENTS[0].resource(), EVENTS[0].description()),
            ("pet", "A pet was renamed.".to_owned())
        );
        assert!(EVENTS[0].audience.audit && EVENTS[0].audience.webhook && !EVENTS[0].audience.live);
    }
}
