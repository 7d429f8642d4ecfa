//! Rows of customers.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, PgConnection, PgExpressionMethods, QueryDsl,
    QueryResult, RunQueryDsl, SelectableHelper, sql_types,
};

use super::model::{Customer, CustomerFilters, NewCustomer};
use crate::{
    features::schema::licensing::customers,
    in_order,
    kernel::{id::CustomerId, page::PageQuery},
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
    let mut rows = customers::table
        .select(Customer::as_select())
        .limit(query.fetch())
        .into_boxed();
    if !query.filters.emails.is_empty() {
        rows = rows.filter(customers::email.eq_any(&query.filters.emails));
    }
    if !query.filters.external_ids.is_empty() {
        rows = rows.filter(customers::external_id.eq_any(&query.filters.external_ids));
    }
    in_order!(rows, customers, query).load(conn)
}

pub(super) fn get(conn: &mut PgConnection, id: CustomerId) -> QueryResult<Customer> {
    customers::table
        .find(id.uuid())
        .select(Customer::as_select())
        .first(conn)
}

diesel::define_sql_function! {
    /// Whose rows the transaction sees.
    fn current_reseller() -> sql_types::Nullable<sql_types::Uuid>;
}

/// The customer with this address among those of whoever asks: a reseller's own, or the vendor's own.
pub(super) fn of_email(conn: &mut PgConnection, email: &str) -> QueryResult<Option<Customer>> {
    customers::table
        .filter(customers::email.eq(email))
        .filter(customers::reseller_id.is_not_distinct_from(current_reseller()))
        .select(Customer::as_select())
        .first(conn)
        .optional()
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
