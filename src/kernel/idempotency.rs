//! One effect for one key: the key, the fingerprint and the answer are stored in the effect's own transaction. A twin waits on the
//! unique index until the first has committed, then replays it.

mod sealed;

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use diesel::{
    ExpressionMethods, Insertable, OptionalExtension, PgConnection, QueryDsl, QueryResult, Queryable, RunQueryDsl,
};
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

pub(in crate::kernel) use sealed::SEALED;

use crate::kernel::{
    access::Actor,
    crypto::{self, Aad, Keyring, Sealed},
    db::{Kernel, Tenant},
    error::{Error, IDEMPOTENCY_IN_PROGRESS, IDEMPOTENCY_KEY_REUSED, OVERLOADED, Problem, Result},
    http::Reply,
    id::{Id, Resource, UserId},
    schema::{idempotency_keys, user_idempotency_keys},
};

/// Tells two requests with the same key apart.
pub trait Fingerprint {
    /// SHA-256 of the canonical body (JCS, RFC 8785).
    fn digest(&self) -> [u8; 32];
}

/// A request without a body.
impl Fingerprint for () {
    fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}

/// The caller's name for one effect, and all that tells two requests apart.
pub struct IdempotencyKey {
    /// The key; `None`: every request is its own.
    pub(in crate::kernel) key: Option<String>,
    /// Method and route template.
    pub(in crate::kernel) route: String,
    /// Path as sent and canonical query.
    pub(in crate::kernel) target: String,
    /// Seals stored answers that hold a secret.
    pub(in crate::kernel) keyring: Arc<Keyring>,
}

/// An answer: made just now, or made before.
pub enum Once<R> {
    /// The effect happened now.
    Now(R),
    /// It had happened already; this is what was answered then.
    Before(Stored),
}

/// What was answered.
pub struct Stored {
    pub(in crate::kernel) status: u16,
    pub(in crate::kernel) location: Option<String>,
    pub(in crate::kernel) tag: Option<String>,
    pub(in crate::kernel) body: Option<Box<RawValue>>,
}

impl Stored {
    /// The id of the thing that was answered.
    pub fn id<T: Resource>(&self) -> Option<Id<T>> {
        let body: Value = serde_json::from_str(self.body.as_ref()?.get()).ok()?;
        body["id"].as_str()?.parse().ok()
    }
}

/// How long an answer is kept.
const KEPT: Duration = Duration::hours(24);

/// Does `work` once for the caller's key, inside the effect's transaction.
///
/// # Errors
/// 422 `idempotency-key-reused` for another request under the same key, 409 `idempotency-in-progress` while a twin is at work, and
/// whatever `work` refuses: then nothing is stored, and a repetition is judged afresh.
pub fn once<R: Reply>(
    tx: &mut Tenant<'_>,
    key: &IdempotencyKey,
    body: &impl Fingerprint,
    work: impl FnOnce(&mut Tenant<'_>) -> Result<R>,
) -> Result<Once<R>> {
    let Some(request) = Request::of(key, body) else {
        return work(tx).map(Once::Now);
    };
    let principal = principal(tx);
    let now = tx.now()?;
    let workspace = tx.workspace().uuid();
    let home = Home::Workspace { workspace, principal };
    if let Some(stored) = begin(tx.conn(), &home, &request, now)? {
        return Ok(Once::Before(stored));
    }
    let answer = work(tx)?;
    finish(tx.conn(), &home, &request, &answer)?;
    Ok(Once::Now(answer))
}

/// The same for what a person does outside of any workspace.
///
/// # Errors
/// As [`once`].
pub(in crate::kernel) fn once_for<R: Reply>(
    tx: &mut Kernel<'_>,
    user: UserId,
    key: &IdempotencyKey,
    body: &impl Fingerprint,
    work: impl FnOnce(&mut Kernel<'_>) -> Result<R>,
) -> Result<Once<R>> {
    let Some(request) = Request::of(key, body) else {
        return work(tx).map(Once::Now);
    };
    let now = tx.now()?;
    let home = Home::Person(user);
    if let Some(stored) = begin(tx.conn(), &home, &request, now)? {
        return Ok(Once::Before(stored));
    }
    let answer = work(tx)?;
    finish(tx.conn(), &home, &request, &answer)?;
    Ok(Once::Now(answer))
}

/// Whose keys they are: an actor's in a workspace (in `platform` also the customer's, for one person may buy for two), or a person's.
enum Home {
    Workspace { workspace: Uuid, principal: String },
    Person(UserId),
}

fn principal(tx: &Tenant<'_>) -> String {
    let actor = tx.scope().actor();
    let customer = tx.scope().reach().customer.map(|id| format!("+{}", id.uuid()));
    let id = match actor {
        Actor::User { id, .. } => id.uuid().to_string(),
        other => other.uuid().map(|id| id.to_string()).unwrap_or_default(),
    };
    format!("{}:{id}{}", actor.kind(), customer.unwrap_or_default())
}

/// One request under a key.
struct Request<'a> {
    key: &'a IdempotencyKey,
    hash: [u8; 32],
    fingerprint: [u8; 32],
}

impl<'a> Request<'a> {
    fn of(key: &'a IdempotencyKey, body: &impl Fingerprint) -> Option<Request<'a>> {
        let text = key.key.as_ref()?;
        let mut all = key.target.clone().into_bytes();
        all.extend(body.digest());
        Some(Request {
            key,
            hash: crypto::sha256(text.as_bytes()),
            fingerprint: crypto::sha256(&all),
        })
    }

    fn place(&self, home: &Home) -> Aad {
        match home {
            Home::Workspace { workspace, principal } => {
                sealed::place_in(*workspace, principal, &self.key.route, &self.hash)
            }
            Home::Person(user) => sealed::place_of(*user, &self.key.route, &self.hash),
        }
    }
}

/// The twin is at work: its answer can be had in a moment.
fn in_progress() -> Problem {
    Problem::from(IDEMPOTENCY_IN_PROGRESS).retry_after(std::time::Duration::from_secs(1))
}

/// Takes the key, or finds what was answered under it.
fn begin(conn: &mut PgConnection, home: &Home, request: &Request<'_>, now: DateTime<Utc>) -> Result<Option<Stored>> {
    let taken = take(conn, home, request, now).map_err(|error| match Error::from(error) {
        // The only lock that this statement waits for is the twin's.
        busy if busy.is(OVERLOADED) => in_progress().into(),
        other => other,
    })?;
    if taken {
        return Ok(None);
    }
    let row = find(conn, home, request)?.ok_or_else(in_progress)?;
    if row.fingerprint != request.fingerprint {
        return Err(IDEMPOTENCY_KEY_REUSED.into());
    }
    let (Some(status), "done") = (row.status, row.state.as_str()) else {
        return Err(in_progress().into());
    };
    let headers = row.headers.unwrap_or_default();
    let body = match row.body_sealed {
        Some(sealed) => {
            let open = request
                .key
                .keyring
                .open(&request.place(home), &sealed)
                .map_err(|error| Error::Broken(anyhow::anyhow!("{error}")))?;
            Some(serde_json::from_slice(open.expose()).map_err(anyhow::Error::from)?)
        }
        None => row
            .body
            .map(|body| serde_json::value::to_raw_value(&body))
            .transpose()
            .map_err(anyhow::Error::from)?,
    };
    Ok(Some(Stored {
        status: status as u16,
        location: headers["location"].as_str().map(str::to_owned),
        tag: headers["tag"].as_str().map(str::to_owned),
        body,
    }))
}

/// Stores the answer, sealed if it holds a secret.
fn finish<R: Reply>(conn: &mut PgConnection, home: &Home, request: &Request<'_>, answer: &R) -> Result<()> {
    let body = answer
        .body()
        .map(serde_json::to_value)
        .transpose()
        .map_err(anyhow::Error::from)?;
    let (open, sealed) = match body {
        Some(body) if R::SECRET => {
            let text = serde_json::to_vec(&body).map_err(anyhow::Error::from)?;
            (None, Some(request.key.keyring.seal(&request.place(home), &text)))
        }
        body => (body, None),
    };
    let headers = serde_json::json!({ "location": answer.location(), "tag": answer.tag() });
    store(conn, home, request, i32::from(answer.status()), headers, open, sealed)?;
    Ok(())
}

/// What is kept under a key.
#[derive(Queryable)]
struct Row {
    fingerprint: Vec<u8>,
    state: String,
    status: Option<i32>,
    headers: Option<Value>,
    body: Option<Value>,
    body_sealed: Option<Sealed>,
}

#[derive(Insertable)]
#[diesel(table_name = idempotency_keys)]
struct NewKey<'a> {
    principal: &'a str,
    route: &'a str,
    key_hash: &'a [u8],
    fingerprint: &'a [u8],
    state: &'static str,
    expires_at: DateTime<Utc>,
}

/// True if the key is ours now. An expired one makes room first.
fn take(conn: &mut PgConnection, home: &Home, request: &Request<'_>, now: DateTime<Utc>) -> QueryResult<bool> {
    let (route, key_hash, fingerprint) = (
        request.key.route.as_str(),
        request.hash.as_slice(),
        request.fingerprint.as_slice(),
    );
    let expires_at = now + KEPT;
    match home {
        Home::Workspace { principal, .. } => {
            use idempotency_keys::dsl as k;
            let same = k::idempotency_keys
                .filter(k::principal.eq(principal))
                .filter(k::route.eq(route))
                .filter(k::key_hash.eq(key_hash));
            diesel::delete(same.filter(k::expires_at.le(now))).execute(conn)?;
            let row = NewKey {
                principal,
                route,
                key_hash,
                fingerprint,
                state: "started",
                expires_at,
            };
            Ok(diesel::insert_into(k::idempotency_keys)
                .values(row)
                .on_conflict_do_nothing()
                .execute(conn)?
                == 1)
        }
        Home::Person(user) => {
            use user_idempotency_keys::dsl as k;
            let same = k::user_idempotency_keys
                .filter(k::user_id.eq(user))
                .filter(k::route.eq(route))
                .filter(k::key_hash.eq(key_hash));
            diesel::delete(same.filter(k::expires_at.le(now))).execute(conn)?;
            let row = (
                k::user_id.eq(user),
                k::route.eq(route),
                k::key_hash.eq(key_hash),
                k::fingerprint.eq(fingerprint),
                k::state.eq("started"),
                k::expires_at.eq(expires_at),
            );
            Ok(diesel::insert_into(k::user_idempotency_keys)
                .values(row)
                .on_conflict_do_nothing()
                .execute(conn)?
                == 1)
        }
    }
}

fn find(conn: &mut PgConnection, home: &Home, request: &Request<'_>) -> QueryResult<Option<Row>> {
    let (route, key_hash) = (request.key.route.as_str(), request.hash.as_slice());
    match home {
        Home::Workspace { principal, .. } => {
            use idempotency_keys::dsl as k;
            let same = k::idempotency_keys
                .filter(k::principal.eq(principal))
                .filter(k::route.eq(route))
                .filter(k::key_hash.eq(key_hash));
            same.select((k::fingerprint, k::state, k::status, k::headers, k::body, k::body_sealed))
                .first(conn)
                .optional()
        }
        Home::Person(user) => {
            use user_idempotency_keys::dsl as k;
            let same = k::user_idempotency_keys
                .filter(k::user_id.eq(user))
                .filter(k::route.eq(route))
                .filter(k::key_hash.eq(key_hash));
            same.select((k::fingerprint, k::state, k::status, k::headers, k::body, k::body_sealed))
                .first(conn)
                .optional()
        }
    }
}

fn store(
    conn: &mut PgConnection,
    home: &Home,
    request: &Request<'_>,
    status: i32,
    headers: Value,
    body: Option<Value>,
    sealed: Option<Sealed>,
) -> QueryResult<usize> {
    let (route, key_hash) = (request.key.route.as_str(), request.hash.as_slice());
    match home {
        Home::Workspace { principal, .. } => {
            use idempotency_keys::dsl as k;
            let same = k::idempotency_keys
                .filter(k::principal.eq(principal))
                .filter(k::route.eq(route))
                .filter(k::key_hash.eq(key_hash));
            let answer = (
                k::state.eq("done"),
                k::status.eq(status),
                k::headers.eq(headers),
                k::body.eq(body),
                k::body_sealed.eq(sealed),
            );
            diesel::update(same).set(answer).execute(conn)
        }
        Home::Person(user) => {
            use user_idempotency_keys::dsl as k;
            let same = k::user_idempotency_keys
                .filter(k::user_id.eq(user))
                .filter(k::route.eq(route))
                .filter(k::key_hash.eq(key_hash));
            let answer = (
                k::state.eq("done"),
                k::status.eq(status),
                k::headers.eq(headers),
                k::body.eq(body),
                k::body_sealed.eq(sealed),
            );
            diesel::update(same).set(answer).execute(conn)
        }
    }
}
