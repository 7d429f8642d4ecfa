//! Connections, events, lanes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::{Uuid, uuid};

use crate::kernel::{
    access::{Actor, Call, Reach, Scope},
    crypto::Sealed,
    entitlements::Plan,
    id::{Id, Resource, WorkspaceId},
};

/// A Stripe account of a workspace.
pub enum Connection {}

impl Resource for Connection {
    const PREFIX: &'static str = "con";
}

/// `con_…`
pub type ConnectionId = Id<Connection>;

/// The operator's own connection. Its secrets are configuration, and its door is `/inbox/stripe/platform`.
pub const PLATFORM: ConnectionId = Id::from_uuid(uuid!("00000000-0000-7000-8000-000000000002"));

/// An event as it came in.
pub enum InboxEvent {}

impl Resource for InboxEvent {
    const PREFIX: &'static str = "ibx";
}

/// `ibx_…`
pub type InboxEventId = Id<InboxEvent>;

/// What the door needs to know of a connection.
#[derive(diesel::Queryable)]
pub(super) struct Receiver {
    pub(super) workspace: WorkspaceId,
    pub(super) id: ConnectionId,
    pub(super) mode: String,
    pub(super) state: String,
    pub(super) secrets: Vec<Sealed>,
}

/// An event to be stored.
pub(super) struct Arrival {
    pub(super) id: InboxEventId,
    pub(super) event_id: String,
    pub(super) kind: String,
    pub(super) object_kind: Option<String>,
    pub(super) object_id: Option<String>,
    pub(super) lane: String,
    pub(super) created: Option<DateTime<Utc>>,
    pub(super) api_version: Option<String>,
    pub(super) payload: Vec<u8>,
    /// False for events of a type that nothing here looks at: kept, listed, and left alone.
    pub(super) wanted: bool,
}

/// One customer's (or one object's) waiting events, leased to one worker.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The account that they are about.
    pub connection: ConnectionId,
    /// The Stripe customer, else the object.
    pub name: String,
    /// Raised by every lease: a worker that stalled meets a higher one.
    pub epoch: i64,
    /// What waits, oldest first.
    pub events: Vec<Waiting>,
    pub(super) token: Uuid,
    pub(super) workspace: WorkspaceId,
    pub(super) plan: Arc<Plan>,
    pub(super) request_id: Arc<str>,
}

impl Lane {
    /// A fresh scope in the seller's workspace, good for one transaction. Minted here, because the events were proven and their
    /// connection names the workspace.
    pub fn scope(&self) -> Scope {
        let call = Call::internal("inbox.look", self.request_id.clone());
        Scope::grant(
            self.workspace,
            Actor::System,
            Reach::default(),
            self.plan.clone(),
            Arc::new(call),
        )
    }

    /// Whether somebody who looked at some of its events was lost.
    pub fn was_lost(&self) -> bool {
        self.events.iter().any(|event| event.lost)
    }

    /// Whose connection it is.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }
}

/// An event that waits in a lane: where to look.
#[derive(Clone, Debug, PartialEq, Eq, diesel::Queryable)]
pub struct Waiting {
    /// Ours.
    pub id: InboxEventId,
    /// Stripe's word: `invoice.paid`.
    pub kind: String,
    /// `invoice`, `subscription` …
    pub object_kind: Option<String>,
    /// Stripe's id of the object.
    pub object_id: Option<String>,
    /// Looks that failed so far.
    pub attempts: i32,
    /// Looks in a row for which somebody else had what it changes.
    pub put_off: i32,
    /// Somebody looked at it and was lost.
    pub lost: bool,
}
