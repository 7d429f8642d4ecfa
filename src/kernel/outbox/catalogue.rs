//! The types of events: one const each, the source of the API's list, of the webhooks in the OpenAPI document and of every sample.

use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData, ops::Deref, sync::Arc};

use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, schema::Schema};

use crate::kernel::example::example;

/// A schema, as types tell it of themselves.
type Shape = RefOr<Schema>;

/// Who hears of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// The audit log.
    pub audit: bool,
    /// Customers' webhook endpoints.
    pub webhook: bool,
    /// Live streams.
    pub live: bool,
    /// Mails and notices.
    pub mail: bool,
    /// Our own consumers only.
    pub internal: bool,
}

impl Audience {
    /// Nobody.
    pub const NONE: Audience = Audience {
        audit: false,
        webhook: false,
        live: false,
        mail: false,
        internal: false,
    };

    /// And the audit log.
    pub const fn audit(self) -> Audience {
        Audience { audit: true, ..self }
    }
    /// And webhook endpoints.
    pub const fn webhook(self) -> Audience {
        Audience { webhook: true, ..self }
    }
    /// And live streams.
    pub const fn live(self) -> Audience {
        Audience { live: true, ..self }
    }
    /// And mails.
    pub const fn mail(self) -> Audience {
        Audience { mail: true, ..self }
    }
    /// And our own consumers.
    pub const fn internal(self) -> Audience {
        Audience { internal: true, ..self }
    }
}

/// What becomes of a thing when there is nothing more to say than that: it begins, it ends, or it was only tried.
const SAY_ALL: [&str; 14] = [
    "activated",
    "archived",
    "created",
    "dead",
    "deactivated",
    "deleted",
    "issued",
    "joined",
    "published",
    "removed",
    "retired",
    "revoked",
    "started",
    "tested",
];

/// A type of event.
pub struct EventInfo {
    /// `resource.happened`, never renamed.
    pub name: &'static str,
    /// Its documentation.
    pub lines: &'static [&'static str],
    /// Under which heading the catalogue lists it.
    pub group: &'static str,
    /// Where a GET shows whoever hears of it what it is about, below `/api/v1`, with fields of `data` in braces; empty where none does.
    pub at: &'static str,
    /// The fields of `data` that an endpoint may filter by.
    pub filterable: &'static [&'static str],
    /// The fields of `data` that are about a person: the audit log, which cannot be changed, says only that they did.
    pub personal: &'static [&'static str],
    /// Who hears of it.
    pub audience: Audience,
    /// The name of the schema of its `data`.
    pub schema: fn() -> Cow<'static, str>,
    /// That schema.
    pub shape: fn() -> Shape,
    /// The schemas that it refers to, by name.
    pub parts: fn(&mut Vec<(String, Shape)>),
    /// What its example has that the one of its schema has not: one that has just ended has an end. An object, or null for nothing.
    pub shows: fn() -> Value,
}

impl EventInfo {
    /// What it means.
    pub fn description(&self) -> String {
        self.lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// The resource that it is about: the part before the dot.
    pub fn resource(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(resource, _)| resource)
    }

    /// Its `data`, where that is not told whole: what names the thing, its version where it has one, and where a GET shows it.
    pub fn thin(&self, data: &Value) -> Value {
        let named = self.at.split('{').skip(1).filter_map(|part| part.split_once('}'));
        let fields = named.map(|(name, _)| name).chain(["id", "version"]);
        let kept = fields.filter_map(|name| Some((name.to_owned(), data.get(name)?.clone())));
        let mut thin: Map<String, Value> = kept.collect();
        if !self.at.is_empty() {
            thin.insert("href".into(), format!("/api/v1{}", filled(self.at, data)).into());
        }
        thin.into()
    }

    /// What is kept of `data` that is too large: what is told of it, and what endpoints filter by.
    pub fn kept(&self, data: &Value) -> Value {
        let mut kept = self.thin(data);
        for field in self.filterable {
            if let Some(value) = data.get(*field) {
                kept[*field] = value.clone();
            }
        }
        kept
    }

    /// Whether its name says all that was done. Of any other the audit entry says what changed.
    pub fn says_all(&self) -> bool {
        let happened = self.name.split_once('.').map(|(_, happened)| happened);
        happened.is_some_and(|happened| SAY_ALL.contains(&happened))
    }
}

impl EventInfo {
    /// The schema of its `data` and all that it refers to, by name, as the OpenAPI document has them.
    pub fn schemas(&self) -> BTreeMap<String, Value> {
        let mut schemas = vec![((self.schema)().into_owned(), (self.shape)())];
        (self.parts)(&mut schemas);
        let json = |shape| serde_json::to_value(shape).unwrap_or_default();
        schemas.into_iter().map(|(name, shape)| (name, json(shape))).collect()
    }

    /// The JSON schema of its `data`, whole: what it refers to is among its `$defs`.
    pub fn schema_json(&self) -> Value {
        let mut parts = self.schemas();
        let mut schema = parts.remove(&*(self.schema)()).unwrap_or_default();
        if !parts.is_empty() {
            schema["$defs"] = parts.into_iter().collect();
        }
        refer(&mut schema);
        schema
    }

    /// An example of its `data`, as it is right after the event.
    pub fn example(&self) -> Value {
        let schemas = self.schemas();
        let Some(own) = schemas.get(&*(self.schema)()) else {
            return Value::Null;
        };
        let mut made = example(own, &|name| schemas.get(name));
        if let (Value::Object(members), Value::Object(shown)) = (&mut made, (self.shows)()) {
            members.extend(shown);
        }
        made
    }
}

/// Points references to where a schema that stands alone has its parts.
fn refer(schema: &mut Value) {
    match schema {
        Value::Array(elements) => elements.iter_mut().for_each(refer),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(place) if name == "$ref" => {
                        *place = place.replace("#/components/schemas/", "#/$defs/")
                    }
                    member => refer(member),
                }
            }
        }
        _ => {}
    }
}

/// Every type of event, for whoever must know them all. Copies are one.
#[derive(Clone)]
pub struct Catalogue(Arc<[&'static EventInfo]>);

impl Catalogue {
    /// The catalogue of these types.
    pub fn new(events: Vec<&'static EventInfo>) -> Catalogue {
        Catalogue(events.into())
    }
}

impl Deref for Catalogue {
    type Target = [&'static EventInfo];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A type of event whose `data` is a `T`.
pub struct EventType<T> {
    /// What the catalogue says of it.
    pub info: &'static EventInfo,
    data: PhantomData<fn(T)>,
}

impl<T> EventType<T> {
    /// Declares a type. Use [`events!`](crate::events), which also registers it.
    pub const fn new(info: &'static EventInfo) -> EventType<T> {
        EventType {
            info,
            data: PhantomData,
        }
    }
}

impl<T> Clone for EventType<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for EventType<T> {}

/// A path with the fields of some data in the place of their names in braces.
fn filled(path: &str, data: &Value) -> String {
    let mut parts = path.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        let value = data.get(name).unwrap_or(&Value::Null);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{path}{value}{rest}")
    })
}

/// Declares types of events: one const each, and `EVENTS`, the list that the catalogue is made from. Where the example of the data's schema
/// is not how things stand right after the event, `example` says what is otherwise; `at` says where a GET shows the thing, and `personal` names fields that are about a person.
///
/// ```text
/// events! {
///     /// An agent was archived.
///     pub AGENT_ARCHIVED: Agent = "agent.archived", group "agents", at "/agents/{id}", filterable ["agent_id"], audience [audit, webhook, live],
///         example {"state": "archived"};
/// }
/// ```
#[macro_export]
macro_rules! events {
    (@shows) => { ::serde_json::Value::Null };
    (@shows $example:tt) => { ::serde_json::json!($example) };
    ($($(#[doc = $line:literal])* pub $name:ident: $data:ty = $type:literal, group $group:literal $(, at $at:literal)?,
       filterable [$($field:literal),*], audience [$($who:ident),*] $(, personal [$($own:literal),*])? $(, example $example:tt)?;)*) => {
        $(
            $(#[doc = $line])*
            pub const $name: $crate::kernel::outbox::EventType<$data> =
                $crate::kernel::outbox::EventType::new(&$crate::kernel::outbox::EventInfo {
                    name: $type,
                    lines: &[$($line),*],
                    group: $group,
                    at: concat!("", $($at)?),
                    filterable: &[$($field),*],
                    personal: &[$($($own),*)?],
                    audience: $crate::kernel::outbox::Audience::NONE$(.$who())*,
                    schema: <$data as ::utoipa::ToSchema>::name,
                    shape: <$data as ::utoipa::PartialSchema>::schema,
                    parts: <$data as ::utoipa::ToSchema>::schemas,
                    shows: || $crate::events!(@shows $($example)?),
                });
        )*
        /// Every type of event that this module declares.
        pub const EVENTS: &[&$crate::kernel::outbox::EventInfo] = &[$($name.info),*];
    };
}
