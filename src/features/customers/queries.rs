//! Rows of customers.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, RunQueryDsl,
    SelectableHelper,
};
use uuid::Uuid;

use super::model::{Customer, CustomerFilters, NewCustomer};
use crate::{
    any_of,
    features::schema::licensing::{customer_metadata, customers},
    in_order_of_change,
    kernel::{
        db::ById,
        id::{CustomerId, ResellerId},
        page::PageQuery,
    },
    tagged,
};

pub(super) fn insert(conn: &mut PgConnection, id: CustomerId, new: &NewCustomer) -> QueryResult<Customer> {
    diesel::insert_into(customers::table)
        .values((customers::id.eq(id.uuid()), new))
        .returning(Customer::as_returning())
        .get_result(conn)
}

/// The same, unless the address or the vendor's own key is another's, who may be adding them at this moment.
pub(super) fn insert_new(conn: &mut PgConnection, id: CustomerId, new: &NewCustomer) -> QueryResult<Option<Customer>> {
    diesel::insert_into(customers::table)
        .values((customers::id.eq(id.uuid()), new))
        .on_conflict_do_nothing()
        .returning(Customer::as_returning())
        .get_result(conn)
        .optional()
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<CustomerFilters>) -> QueryResult<Vec<Customer>> {
    let emails: Vec<String> = query.filters.emails.iter().map(|email| folded(email)).collect();
    let mut rows = customers::table
        .select(Customer::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows, customers::email_key => emails, customers::external_id => query.filters.external_ids);
    tagged!(rows, customers, customer_metadata, query);
    in_order_of_change!(rows, customers, query).load(conn)
}

pub(super) fn get(conn: &mut PgConnection, id: CustomerId) -> QueryResult<Customer> {
    one(id.uuid()).first(conn)
}

/// The statement that reads it.
pub(super) fn one(id: Uuid) -> ById<customers::table, Customer> {
    customers::table.find(id).select(Customer::as_select())
}

/// An address as `email_key` holds it.
fn folded(email: &str) -> String {
    email.to_ascii_lowercase()
}

/// The customer with this address among those of a reseller or, without one, of the vendor's own.
pub(super) fn of_email(
    conn: &mut PgConnection,
    email: &str,
    reseller: Option<ResellerId>,
) -> QueryResult<Option<Customer>> {
    let named = customers::table
        .filter(customers::email_key.eq(folded(email)))
        .select(Customer::as_select())
        .into_boxed();
    let own = match reseller {
        Some(reseller) => named.filter(customers::reseller_id.eq(reseller.uuid())),
        None => named.filter(customers::reseller_id.is_null()),
    };
    own.first(conn).optional()
}

/// The customer, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: CustomerId) -> QueryResult<Customer> {
    let one = customers::table.find(id.uuid()).select(Customer::as_select());
    one.for_no_key_update().first(conn)
}

pub(super) fn update(conn: &mut PgConnection, id: CustomerId, to: &NewCustomer) -> QueryResult<Customer> {
    diesel::update(customers::table.find(id.uuid()))
        .set(to)
        .returning(Customer::as_returning())
        .get_result(conn)
}
