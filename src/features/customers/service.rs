//! The rules of customers.

use super::{
    model::{CUSTOMER_CREATED, CUSTOMER_UPDATED, Customer, CustomerFilters, CustomerPatch, NewCustomer},
    queries,
};
use crate::kernel::{
    access::Scope,
    db::{Db, Tenant},
    error::{EXTERNAL_ID_TAKEN, FieldCode, NOT_FOUND, OnConstraint, Result, invalid, missing},
    http::IfMatch,
    id::CustomerId,
    outbox,
    page::{Page, PageQuery},
};

const EMAIL_KEY: &str = "customers_workspace_id_reseller_id_email_key";
const EXTERNAL_ID_KEY: &str = "customers_workspace_id_reseller_id_external_id_key";

fn unique<T>(result: diesel::QueryResult<T>) -> Result<T> {
    let taken = || invalid("/email", FieldCode::NotUnique, "Another customer has this address.");
    result
        .on_unique(EMAIL_KEY, taken())
        .on_unique(EXTERNAL_ID_KEY, EXTERNAL_ID_TAKEN)
}

/// Adds a customer: the reseller's, if one acts, else the vendor's.
///
/// # Errors
/// 422 if another customer has the address, 409 `external-id-taken`.
pub fn create(tx: &mut Tenant<'_>, new: &NewCustomer) -> Result<Customer> {
    let id = CustomerId::new(tx.now()?);
    let customer = unique(queries::insert(tx.conn(), id, new))?;
    outbox::emit(tx, CUSTOMER_CREATED.of(id, &customer))?;
    Ok(customer)
}

/// The customer with this address, added if there is none. Two who add them at once get the same one.
///
/// # Errors
/// 404 for one who was removed at this very moment.
pub fn find_or_create(tx: &mut Tenant<'_>, email: &str, name: Option<&str>) -> Result<Customer> {
    let reseller = tx.scope().reach().reseller;
    if let Some(known) = queries::of_email(tx.conn(), email, reseller)? {
        return Ok(known);
    }
    let new = NewCustomer {
        email: Some(email.to_owned()),
        name: name.map(str::to_owned),
        ..NewCustomer::default()
    };
    let id = CustomerId::new(tx.now()?);
    let Some(customer) = queries::insert_new(tx.conn(), id, &new)? else {
        return Ok(queries::of_email(tx.conn(), email, reseller)?.ok_or(NOT_FOUND)?);
    };
    outbox::emit(tx, CUSTOMER_CREATED.of(id, &customer))?;
    Ok(customer)
}

/// A page of customers.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<CustomerFilters>) -> Result<Page<Customer>> {
    let rows = queries::list(tx.conn(), query)?;
    Ok(query.page_of_changing(rows, |customer| {
        (customer.created_at, customer.updated_at, customer.id.uuid())
    }))
}

/// One customer, in one round trip.
///
/// # Errors
/// 404.
pub(super) async fn show(db: &Db, scope: impl Into<Scope>, id: CustomerId) -> Result<Customer> {
    db.one(scope, queries::one(id.uuid())).await
}

/// One customer.
///
/// # Errors
/// 404.
pub fn get(tx: &mut Tenant<'_>, id: CustomerId) -> Result<Customer> {
    Ok(queries::get(tx.conn(), id)?)
}

/// The customer that a body names.
///
/// # Errors
/// 422 if there is none.
pub fn named(tx: &mut Tenant<'_>, id: CustomerId, pointer: &str) -> Result<Customer> {
    queries::get(tx.conn(), id).map_err(|error| match error {
        diesel::result::Error::NotFound => missing(pointer, "customer"),
        other => other.into(),
    })
}

/// Changes a customer.
///
/// # Errors
/// 404, 412, 422, 409 `external-id-taken`.
pub(super) fn patch(tx: &mut Tenant<'_>, id: CustomerId, seen: &IfMatch, change: &CustomerPatch) -> Result<Customer> {
    let before = queries::lock(tx.conn(), id)?;
    seen.allows(before.version)?;
    let wanted = change.apply(&NewCustomer::from(&before))?;
    let after = unique(queries::update(tx.conn(), id, &wanted))?;
    if after.version != before.version {
        outbox::emit(tx, CUSTOMER_UPDATED.of(id, &after).was(&before))?;
    }
    Ok(after)
}
