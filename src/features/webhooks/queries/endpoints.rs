//! Rows of endpoints and their secrets.

use chrono::{DateTime, Utc};
use diesel::{
    AsChangeset, BoolExpressionMethods, ExpressionMethods, Insertable, OptionalExtension, PgArrayExpressionMethods,
    PgConnection, QueryDsl, QueryResult, Queryable, RunQueryDsl, Selectable, SelectableHelper,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    features::{
        schema::webhooks::{webhook_endpoints as e, webhook_pumps, webhook_secrets as s},
        webhooks::model::{DisabledReason, Endpoint, EndpointFilters, EndpointId, Ordering, Payload},
    },
    in_order_of_change,
    kernel::{crypto::Sealed, page::PageQuery},
};

#[derive(Insertable)]
#[diesel(table_name = e)]
pub(in crate::features::webhooks) struct NewRow<'a> {
    pub id: EndpointId,
    pub external_id: Option<&'a str>,
    pub url: &'a str,
    pub description: &'a str,
    pub events: &'a [String],
    pub filter: Value,
    pub payload: Payload,
    pub ordering: Ordering,
    pub max_hold_seconds: i32,
    pub rate_per_s: i32,
    pub max_in_flight: i32,
    pub headers_sealed: Option<Sealed>,
    pub header_names: Vec<String>,
    pub events_hash: Vec<u8>,
    pub filter_hash: Vec<u8>,
    pub once: bool,
    pub expires_at: Option<DateTime<Utc>>,
    pub api_version: &'a str,
}

#[derive(AsChangeset)]
#[diesel(table_name = e)]
pub(in crate::features::webhooks) struct Change<'a> {
    pub url: Option<&'a str>,
    pub description: Option<&'a str>,
    pub events: Option<&'a [String]>,
    pub events_hash: Option<Vec<u8>>,
    pub filter: Option<Value>,
    pub filter_hash: Option<Vec<u8>>,
    pub payload: Option<Payload>,
    pub ordering: Option<Ordering>,
    pub max_hold_seconds: Option<i32>,
    pub rate_per_s: Option<i32>,
    pub max_in_flight: Option<i32>,
    pub headers_sealed: Option<Option<Sealed>>,
    pub header_names: Option<Vec<String>>,
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

/// The endpoint and its pump.
pub(in crate::features::webhooks) fn insert_endpoint(
    conn: &mut PgConnection,
    row: &NewRow<'_>,
) -> QueryResult<Endpoint> {
    let endpoint = diesel::insert_into(e::table)
        .values(row)
        .returning(Endpoint::as_returning())
        .get_result(conn)?;
    diesel::insert_into(webhook_pumps::table)
        .values(webhook_pumps::endpoint_id.eq(row.id))
        .execute(conn)?;
    Ok(endpoint)
}

pub(in crate::features::webhooks) fn endpoint(conn: &mut PgConnection, id: EndpointId) -> QueryResult<Endpoint> {
    e::table.find(id).select(Endpoint::as_select()).first(conn)
}

pub(in crate::features::webhooks) fn lock_endpoint(conn: &mut PgConnection, id: EndpointId) -> QueryResult<Endpoint> {
    e::table.find(id).select(Endpoint::as_select()).for_update().first(conn)
}

/// The values of the headers that an endpoint wants.
pub(in crate::features::webhooks) fn headers(conn: &mut PgConnection, id: EndpointId) -> QueryResult<Option<Sealed>> {
    e::table.find(id).select(e::headers_sealed).first(conn)
}

/// Endpoints that events are matched with, held so that none is changed or switched off meanwhile. Whoever does that locks the row whole;
/// whoever only notes how its calls went is not waited for.
pub(in crate::features::webhooks) fn listening(conn: &mut PgConnection) -> QueryResult<Vec<Endpoint>> {
    e::table
        .filter(e::enabled)
        .filter(e::events.ne(Vec::<String>::new()))
        .order(e::id)
        .select(Endpoint::as_select())
        .for_key_share()
        .load(conn)
}

pub(in crate::features::webhooks) fn update_endpoint(
    conn: &mut PgConnection,
    id: EndpointId,
    change: &Change<'_>,
) -> QueryResult<Endpoint> {
    diesel::update(e::table.find(id))
        // Something is always set, or there would be no statement. A key's lock keeps nobody out whom `lock_endpoint` lets in.
        .set((change, e::id.eq(id)))
        .returning(Endpoint::as_returning())
        .get_result(conn)
}

pub(in crate::features::webhooks) fn set_enabled(
    conn: &mut PgConnection,
    id: EndpointId,
    disabled: Option<(DisabledReason, DateTime<Utc>)>,
) -> QueryResult<Endpoint> {
    diesel::update(e::table.find(id))
        .set((
            e::enabled.eq(disabled.is_none()),
            e::disabled_reason.eq(disabled.map(|(reason, _)| reason)),
            e::disabled_at.eq(disabled.map(|(_, at)| at)),
            e::first_failure_at.eq(None::<DateTime<Utc>>),
            e::last_failure_at.eq(None::<DateTime<Utc>>),
            e::exhausted_in_row.eq(0),
            e::refused_in_row.eq(0),
        ))
        .returning(Endpoint::as_returning())
        .get_result(conn)
}

/// What an endpoint's failures look like.
#[derive(Clone, Copy, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = e, treat_none_as_null = true)]
pub(in crate::features::webhooks) struct Marks {
    pub first_failure_at: Option<DateTime<Utc>>,
    pub last_failure_at: Option<DateTime<Utc>>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub exhausted_in_row: i32,
    pub refused_in_row: i32,
}

pub(in crate::features::webhooks) fn marks(conn: &mut PgConnection, id: EndpointId) -> QueryResult<Marks> {
    e::table.find(id).select(Marks::as_select()).first(conn)
}

pub(in crate::features::webhooks) fn set_marks(
    conn: &mut PgConnection,
    id: EndpointId,
    marks: &Marks,
) -> QueryResult<usize> {
    diesel::update(e::table.find(id)).set(marks).execute(conn)
}

pub(in crate::features::webhooks) fn delete_endpoint(conn: &mut PgConnection, id: EndpointId) -> QueryResult<usize> {
    diesel::delete(e::table.find(id)).execute(conn)
}

pub(in crate::features::webhooks) fn list_endpoints(
    conn: &mut PgConnection,
    query: &PageQuery<EndpointFilters>,
) -> QueryResult<Vec<Endpoint>> {
    let filters = &query.filters;
    let mut rows = e::table.select(Endpoint::as_select()).limit(query.fetch()).into_boxed();
    if !filters.urls.is_empty() {
        rows = rows.filter(e::url.eq_any(&filters.urls));
    }
    if !filters.sources.is_empty() {
        rows = rows.filter(e::source.eq_any(filters.sources.iter().map(|source| source.word())));
    }
    if !filters.events.is_empty() {
        rows = rows.filter(e::events.overlaps_with(&filters.events));
    }
    if !filters.enabled.is_empty() {
        rows = rows.filter(e::enabled.eq_any(&filters.enabled));
    }
    in_order_of_change!(rows, e, query).load(conn)
}

/// A secret as it is kept.
#[derive(Queryable, Selectable)]
#[diesel(table_name = s)]
pub(in crate::features::webhooks) struct SecretRow {
    pub kid: Uuid,
    pub secret_sealed: Sealed,
    pub expires_at: Option<DateTime<Utc>>,
}

pub(in crate::features::webhooks) fn insert_secret(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    kid: Uuid,
    sealed: &Sealed,
) -> QueryResult<usize> {
    let row = (s::endpoint_id.eq(endpoint), s::kid.eq(kid), s::secret_sealed.eq(sealed));
    diesel::insert_into(s::table).values(row).execute(conn)
}

/// Secrets that sign at `now`, newest first. Five at most: the oldest of more are forgotten when a new one is made.
pub(in crate::features::webhooks) fn secrets(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<Vec<SecretRow>> {
    s::table
        .filter(s::endpoint_id.eq(endpoint))
        .filter(s::expires_at.is_null().or(s::expires_at.gt(now)))
        .order((s::created_at.desc(), s::kid.desc()))
        .limit(SECRETS.into())
        .select(SecretRow::as_select())
        .load(conn)
}

/// Forgets the secrets that ended.
pub(in crate::features::webhooks) fn forget_secrets(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let ended = s::table
        .filter(s::endpoint_id.eq(endpoint))
        .filter(s::expires_at.le(now));
    diesel::delete(ended).execute(conn)
}

/// The most secrets of an endpoint that sign.
const SECRETS: u8 = 5;

/// Lets the secrets that have no end yet end then, and forgets those that ended, or that another one leaves no room for.
pub(in crate::features::webhooks) fn retire_secrets(
    conn: &mut PgConnection,
    endpoint: EndpointId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<()> {
    forget_secrets(conn, endpoint, now)?;
    let newest = secrets(conn, endpoint, now)?;
    let stay: Vec<Uuid> = newest
        .iter()
        .take(usize::from(SECRETS) - 1)
        .map(|secret| secret.kid)
        .collect();
    let others = s::table.filter(s::endpoint_id.eq(endpoint)).filter(s::kid.ne_all(stay));
    diesel::delete(others).execute(conn)?;
    let endless = s::table
        .filter(s::endpoint_id.eq(endpoint))
        .filter(s::expires_at.is_null());
    diesel::update(endless).set(s::expires_at.eq(until)).execute(conn)?;
    Ok(())
}

/// The endpoint, if it is still there.
pub(in crate::features::webhooks) fn endpoint_if(
    conn: &mut PgConnection,
    id: EndpointId,
) -> QueryResult<Option<Endpoint>> {
    endpoint(conn, id).optional()
}
