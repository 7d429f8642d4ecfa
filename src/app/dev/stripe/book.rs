//! Everything that the stub remembers: the objects as they would be answered, and what was promised to be delivered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::refusal::{Refusal, Told};
use super::{API_VERSION, fault::Fault};

/// The state of one Stripe account. Objects are stored in the very shape that the wire carries.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Book {
    /// Makes ids of this account unlike those of every other stub.
    salt: String,
    counter: u64,
    objects: BTreeMap<String, Value>,
    /// Ids by kind, oldest first.
    kinds: BTreeMap<String, Vec<String>>,
    /// The version of an object before its last change, for stale reads.
    earlier: BTreeMap<String, Value>,
    /// How a payment method behaves when it is charged.
    pub(super) cards: BTreeMap<String, Card>,
    /// Signing secrets of webhook endpoints, newest first; an answer shows one only when it is made.
    pub(super) secrets: BTreeMap<String, Vec<String>>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) replies: BTreeMap<String, Reply>,
    pub(super) faults: Vec<Fault>,
    /// Seconds by which this account runs ahead of the clock that was handed in.
    pub(super) ahead: i64,
    /// Proration lines that wait for the next invoice, by subscription.
    pub(super) pending_lines: BTreeMap<String, Vec<Value>>,
    /// What happens to a subscription whose last retry fails.
    pub(super) after_last_retry: AfterLastRetry,
    /// The present second, set when the book is opened.
    #[serde(skip)]
    pub(super) now: i64,
    /// The request that is being answered, for the `request` of its events.
    #[serde(skip)]
    pub(super) request: (Option<String>, Option<String>),
    /// Every request that was answered, newest last, for tests that count calls.
    #[serde(skip)]
    pub(super) log: Vec<Value>,
}

/// A test card's behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Card {
    /// Every charge succeeds.
    Pays,
    /// Every charge is declined by the issuer.
    Declines,
    /// A bank debit: every charge is under way at first, and paid when it is asked for again.
    Debits,
    /// Every charge wants the holder to authenticate first.
    Authenticates,
}

/// The seller's setting for the end of dunning.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterLastRetry {
    /// The subscription is cancelled.
    #[default]
    Cancel,
    /// The subscription becomes `unpaid`.
    MarkUnpaid,
    /// The subscription stays `past_due`.
    LeavePastDue,
}

/// One event on its way to one endpoint.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) event: String,
    pub(super) endpoint: String,
    pub(super) attempts: u32,
    /// The second from which it may be sent.
    pub(super) due: i64,
}

/// The first answer under an idempotency key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) request: String,
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) at: i64,
}

impl Book {
    pub(super) fn new(salt: String) -> Self {
        Self {
            salt,
            ..Self::default()
        }
    }

    /// A new id: `cus_` and 22 characters.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}_{}{:012}", self.salt, self.counter)
    }

    /// The account itself.
    pub(super) fn account(&self) -> Value {
        json!({ "id": format!("acct_{}", self.salt), "object": "account", "business_type": "company",
            "charges_enabled": true, "country": "US", "created": 0, "default_currency": "usd",
            "details_submitted": true, "email": null, "livemode": false, "metadata": {}, "payouts_enabled": true,
            "type": "standard" })
    }

    /// Stores a new object under its own id.
    pub(super) fn insert(&mut self, kind: &str, object: Value) {
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        self.kinds.entry(kind.to_owned()).or_default().push(id.clone());
        self.objects.insert(id, object);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.objects.get(id)
    }

    /// The object as it was before its last change, if it ever changed.
    pub(super) fn get_stale(&self, id: &str) -> Option<&Value> {
        self.earlier.get(id).or_else(|| self.objects.get(id))
    }

    /// The object of that kind, or Stripe's refusal naming the parameter that asked for it.
    pub(super) fn find(&self, kind: &str, id: &str, param: &str) -> Told<&Value> {
        let known = self.objects.get(id).filter(|object| object["object"] == kind);
        known.ok_or_else(|| Refusal::no_such(kind, id, param))
    }

    /// A copy of an object that must exist, or `null`.
    pub(super) fn copy(&self, id: &str) -> Value {
        self.objects.get(id).cloned().unwrap_or(Value::Null)
    }

    /// Changes an object and answers what it became.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Value)) -> Value {
        let Some(object) = self.objects.get_mut(id) else {
            return Value::Null;
        };
        self.earlier.insert(id.to_owned(), object.clone());
        change(object);
        object.clone()
    }

    /// Objects of a kind, oldest first.
    pub(super) fn all(&self, kind: &str) -> impl DoubleEndedIterator<Item = &Value> {
        self.kinds
            .get(kind)
            .into_iter()
            .flatten()
            .filter_map(|id| self.objects.get(id))
    }

    /// Ids of the objects of a kind that satisfy a condition, oldest first.
    pub(super) fn ids(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        self.all(kind)
            .filter(|o| wanted(o))
            .filter_map(|o| o["id"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// Records that something happened to an object, and promises it to every endpoint that listens.
    pub(super) fn emit(&mut self, kind: &str, object_id: &str) {
        let object = self.copy(object_id);
        self.emit_object(kind, object_id, object);
    }

    /// As `emit`, with the object as it should be told: deleted objects have no other copy.
    pub(super) fn emit_object(&mut self, kind: &str, object_id: &str, object: Value) {
        let id = self.id("evt");
        let mut data = json!({ "object": object });
        if kind.ends_with(".updated") {
            data["previous_attributes"] = self.previous(object_id);
        }
        let endpoints = self.ids("webhook_endpoint", |e| listens(e, kind));
        let event = json!({ "id": id, "object": "event", "api_version": API_VERSION, "created": self.now,
            "data": data, "livemode": false, "pending_webhooks": endpoints.len(), "type": kind,
            "request": { "id": self.request.0, "idempotency_key": self.request.1 } });
        self.insert("event", event);
        let due = self.now;
        self.deliveries.extend(endpoints.into_iter().map(|endpoint| Delivery {
            event: id.clone(),
            endpoint,
            attempts: 0,
            due,
        }));
    }

    /// The old values of the fields that the last change touched.
    fn previous(&self, id: &str) -> Value {
        let (Some(Value::Object(was)), Some(Value::Object(is))) = (self.earlier.get(id), self.objects.get(id)) else {
            return json!({});
        };
        was.iter()
            .filter(|(key, old)| is.get(*key) != Some(old))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Drops answers that are older than a day, as Stripe does.
    pub(super) fn prune(&mut self) {
        let now = self.now;
        self.replies.retain(|_, reply| now - reply.at < 24 * 3600);
        let surplus = self.log.len().saturating_sub(10_000);
        self.log.drain(..surplus);
    }
}

fn listens(endpoint: &Value, kind: &str) -> bool {
    let events = endpoint["enabled_events"].as_array();
    endpoint["status"] == "enabled" && events.is_some_and(|list| list.iter().any(|e| e == "*" || e == kind))
}

/// The object with the named fields present and `null`: Stripe leaves no documented field out.
pub(super) fn with_empty(mut object: Value, names: &[&str]) -> Value {
    names.iter().for_each(|name| object[*name] = Value::Null);
    object
}
