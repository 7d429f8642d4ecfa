//! Rows of products.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl, SelectableHelper,
};
use uuid::Uuid;

use super::model::{NewProduct, Product, ProductFilters, ProductId};
use crate::{
    any_of,
    features::schema::licensing::{catalog_metadata, products},
    in_order_of_change,
    kernel::{db::ById, page::PageQuery},
    tagged,
};

pub(super) fn insert(conn: &mut PgConnection, id: ProductId, new: &NewProduct) -> QueryResult<Product> {
    diesel::insert_into(products::table)
        .values((products::id.eq(id), new))
        .returning(Product::as_returning())
        .get_result(conn)
}

pub(super) fn list(conn: &mut PgConnection, query: &PageQuery<ProductFilters>) -> QueryResult<Vec<Product>> {
    let mut rows = products::table
        .select(Product::as_select())
        .limit(query.fetch())
        .into_boxed();
    any_of!(rows, products::code => query.filters.codes);
    tagged!(rows, products, catalog_metadata, query);
    in_order_of_change!(rows, products, query).load(conn)
}

/// The statement that reads one.
pub(super) fn one(id: Uuid) -> ById<products::table, Product> {
    products::table.find(id).select(Product::as_select())
}

/// The product as it stays until the commit.
pub(super) fn hold(conn: &mut PgConnection, id: ProductId) -> QueryResult<Product> {
    let one = products::table.find(id.uuid()).select(Product::as_select());
    one.for_share().first(conn)
}

/// The product, locked until the commit.
pub(super) fn lock(conn: &mut PgConnection, id: ProductId) -> QueryResult<Product> {
    let one = products::table.find(id.uuid()).select(Product::as_select());
    one.for_no_key_update().first(conn)
}

/// Writes what of a product can change. Its code is not named: who refers to the product would wait.
pub(super) fn update(conn: &mut PgConnection, id: ProductId, to: &NewProduct) -> QueryResult<Product> {
    diesel::update(products::table.find(id.uuid()))
        .set((
            products::name.eq(&to.name),
            products::url.eq(&to.url),
            products::version_scheme.eq(to.version_scheme),
            products::environments.eq(&to.environments),
            products::metadata.eq(&to.metadata),
        ))
        .returning(Product::as_returning())
        .get_result(conn)
}

pub(super) fn archive(conn: &mut PgConnection, id: ProductId, now: DateTime<Utc>) -> QueryResult<Product> {
    diesel::update(products::table.find(id.uuid()))
        .set(products::archived_at.eq(now))
        .returning(Product::as_returning())
        .get_result(conn)
}
