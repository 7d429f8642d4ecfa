//! Typed ids: `usr_01j…`, a prefix that is a type here and 26 characters of a UUIDv7 (the TypeID format,
//! <https://github.com/jetify-com/typeid>). The database stores the UUID; id order is time order.

use std::{
    borrow::Cow,
    cell::Cell,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    str::FromStr,
};

use ahash::RandomState;
use chrono::{DateTime, Utc};
use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::Pg,
    serialize::{self, Output, ToSql},
    sql_types,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::{
    ObjectBuilder, RefOr,
    schema::{Schema, SchemaFormat, Type},
};
use uuid::Uuid;

/// Something that has an id. Implemented on the row (or on a marker, where the row lives elsewhere).
pub trait Resource {
    /// What the id begins with, without the underscore.
    const PREFIX: &'static str;
}

/// The id of a `T`. Two kinds of id cannot be mixed up.
#[derive(FromSqlRow, AsExpression)]
#[diesel(sql_type = sql_types::Uuid)]
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// An id that no row has: what a malformed id in a path becomes.
    pub const fn nil() -> Self {
        Id(Uuid::nil(), PhantomData)
    }

    /// A new id (UUIDv7) of the given instant. Those that one thread makes of one instant, such as the audit entries of a transaction, are
    /// in the order of their making.
    pub fn new(now: DateTime<Utc>) -> Self {
        let millis = now.timestamp_millis().max(0) as u64;
        let (seconds, nanos) = (millis / 1_000, (millis % 1_000) as u32 * 1_000_000);
        let time = uuid::Timestamp::from_unix_time(seconds, nanos, place_within(millis).into(), u32::BITS as u8);
        Id(Uuid::new_v7(time), PhantomData)
    }

    /// A new id for what is no secret and no row, such as a request: made without asking the operating system for random bytes, which
    /// takes longer than all else that is done to name one.
    pub fn quick(now: DateTime<Utc>) -> Self {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&quick_random().to_ne_bytes());
        bytes[8..].copy_from_slice(&quick_random().to_ne_bytes()[..2]);
        let millis = now.timestamp_millis().max(0) as u64;
        Id(
            uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid(),
            PhantomData,
        )
    }

    /// The id that is stored as this UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Id(uuid, PhantomData)
    }

    /// What the database stores.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

/// Counts what this thread makes of one millisecond, from a random place on (RFC 9562 §6.2, method 1).
fn place_within(millis: u64) -> u32 {
    thread_local! {
        static LAST: Cell<(u64, u32)> = const { Cell::new((u64::MAX, 0)) };
    }
    let place = match LAST.get() {
        (last, place) if last == millis => place.wrapping_add(1),
        // One bit less, so that counting has room.
        _ => quick_random() as u32 >> 1,
    };
    LAST.set((millis, place));
    place
}

/// A number unlike the others of the process, for what is no secret and what nothing depends on: names, spans, jitter. A keyed hash of a
/// counter, both the thread's own.
pub(in crate::kernel) fn quick_random() -> u64 {
    thread_local! {
        static KEYS: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    COUNT.set(COUNT.get().wrapping_add(1));
    KEYS.with(|keys| keys.hash_one(COUNT.get()))
}

/// Why a text is not an id of the wanted kind. Says nothing of whether such a row exists.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such id")
    }
}

impl std::error::Error for NotAnId {}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn encode(uuid: Uuid) -> [u8; 26] {
    let bits = uuid.as_u128();
    std::array::from_fn(|place| ALPHABET[(bits >> (5 * (25 - place)) & 31) as usize])
}

fn decode(text: &str) -> Option<Uuid> {
    let bytes = text.as_bytes();
    // 26 × 5 bits are 130: the first character may only carry three.
    if bytes.len() != 26 || bytes[0] > b'7' {
        return None;
    }
    bytes
        .iter()
        .try_fold(0_u128, |bits, byte| {
            let value = ALPHABET.iter().position(|letter| letter == byte)?;
            Some(bits << 5 | value as u128)
        })
        .map(Uuid::from_u128)
}

/// The id of a row whose kind is known by its prefix alone.
pub fn public(prefix: &str, uuid: Uuid) -> String {
    format!(
        "{prefix}_{}",
        std::str::from_utf8(&encode(uuid)).expect("the alphabet is ASCII")
    )
}

/// The prefix and the UUID of an id of any kind; `None` if it is not one.
pub fn parts(text: &str) -> Option<(&str, Uuid)> {
    let (prefix, body) = text.rsplit_once('_')?;
    decode(body).map(|uuid| (prefix, uuid))
}

impl<T: Resource> Id<T> {
    /// As it is shown, without a detour through `fmt`: every request has one.
    pub fn to_text(self) -> String {
        let body = encode(self.0);
        [
            T::PREFIX,
            "_",
            std::str::from_utf8(&body).expect("the alphabet is ASCII"),
        ]
        .concat()
    }
}

impl<T: Resource> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::PREFIX)?;
        f.write_str("_")?;
        f.write_str(std::str::from_utf8(&encode(self.0)).expect("the alphabet is ASCII"))
    }
}

impl<T: Resource> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: Resource> FromStr for Id<T> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let body = text
            .strip_prefix(T::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .ok_or(NotAnId)?;
        decode(body).map(Id::from_uuid).ok_or(NotAnId)
    }
}

impl<T: Resource> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a deserialisation error of an id begins with, so that the body's check can answer with field code `not-found`.
pub(in crate::kernel) const NOT_FOUND_MARK: &str = "not-found: ";

impl<'de, T: Resource> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|NotAnId| {
            de::Error::custom(format_args!(
                "{NOT_FOUND_MARK}There is nothing with this id: {}_ and 26 characters would be one.",
                T::PREFIX
            ))
        })
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: Resource> ToSql<sql_types::Uuid, Pg> for Id<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <Uuid as ToSql<sql_types::Uuid, Pg>>::to_sql(&self.0, &mut out.reborrow())
    }
}

impl<T, DB: Backend> FromSql<sql_types::Uuid, DB> for Id<T>
where
    Uuid: FromSql<sql_types::Uuid, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Uuid::from_sql(bytes).map(Id::from_uuid)
    }
}

impl<T: Resource> utoipa::PartialSchema for Id<T> {
    fn schema() -> RefOr<Schema> {
        let extensions = utoipa::openapi::extensions::ExtensionsBuilder::new()
            .add("x-resource", T::PREFIX)
            .build();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(format!("An id: `{}_` and 26 characters.", T::PREFIX)))
            .format(Some(SchemaFormat::Custom("typeid".into())))
            .pattern(Some(format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", T::PREFIX)))
            .examples([serde_json::json!(example(T::PREFIX))])
            .extensions(Some(extensions))
            .into()
    }
}

impl<T: Resource> utoipa::ToSchema for Id<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}_id", T::PREFIX))
    }
}

fn example(prefix: &str) -> String {
    format!("{prefix}_01jd8qv4x2fkr9s3m5n7p0t1wz")
}

/// Declares ids whose rows live elsewhere: a marker type, its prefix and an alias.
macro_rules! ids {
    ($($(#[$doc:meta])* $marker:ident $alias:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        pub enum $marker {}
        impl Resource for $marker {
            const PREFIX: &'static str = $prefix;
        }
        #[doc = concat!("`", $prefix, "_…`")]
        pub type $alias = Id<$marker>;
    )*};
}

ids! {
    /// A person.
    User UserId "usr";
    /// A signed-in device of a person.
    Session SessionId "ses";
    /// The tenant.
    Workspace WorkspaceId "wsp";
    /// A person in a workspace.
    Membership MembershipId "mem";
    /// A custom role of a workspace.
    Role RoleId "rol";
    /// An API key.
    ApiKey ApiKeyId "key";
    /// A machine identity of a workspace.
    ServiceAccount ServiceAccountId "svc";
    /// What a person allowed a third-party program.
    Grant GrantId "gnt";
    /// A URL that starts a run.
    Trigger TriggerId "trg";
    /// An event of the outbox.
    Event EventId "evt";
    /// An entry of the audit log.
    AuditEntry AuditId "aud";
    /// One request, from the front door to the last job it caused.
    Request RequestId "req";
    /// A mail.
    Mail MailId "eml";
    /// A long administrative task.
    Operation OperationId "opn";
    /// A customer of a workspace.
    Customer CustomerId "cst";
    /// A licence.
    License LicenseId "lic";
    /// A reseller of a workspace's products.
    Reseller ResellerId "rsl";
    /// A price of something that is sold.
    Price PriceId "pri";
}

impl WorkspaceId {
    /// Tenant zero, the operator itself: what happens before a workspace is known belongs to it. The first migration makes it.
    pub const PLATFORM: WorkspaceId = Id::from_uuid(Uuid::from_u128(0x00000000_0000_7000_8000_000000000001));
}

/// Names a job of the queue: the id of its subject, or a UUIDv5 of subject and kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, FromSqlRow, AsExpression)]
#[diesel(sql_type = sql_types::Uuid)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The job of this kind about a subject that has several.
    pub fn of(subject: Uuid, kind: &str) -> JobId {
        JobId(Uuid::new_v5(&subject, kind.as_bytes()))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl ToSql<sql_types::Uuid, Pg> for JobId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <Uuid as ToSql<sql_types::Uuid, Pg>>::to_sql(&self.0, &mut out.reborrow())
    }
}

impl FromSql<sql_types::Uuid, Pg> for JobId {
    fn from_sql(bytes: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        <Uuid as FromSql<sql_types::Uuid, Pg>>::from_sql(bytes).map(JobId)
    }
}

#[cfg(test)]
mod tests;
