//! The rules of products.

use super::{
    model::{
        NewProduct, PRODUCT_ARCHIVED, PRODUCT_CREATED, PRODUCT_UPDATED, Product, ProductFilters, ProductId,
        ProductPatch,
    },
    queries,
};
use crate::kernel::{
    access::Scope,
    db::{Db, Tenant},
    error::{FieldCode, OnConstraint, Result, STATE_CONFLICT, invalid, missing},
    http::IfMatch,
    outbox,
    page::{Page, PageQuery},
};

/// Makes a product.
///
/// # Errors
/// 422 if another product has the code.
pub fn create(tx: &mut Tenant<'_>, new: &NewProduct) -> Result<Product> {
    let id = ProductId::new(tx.now()?);
    let product = queries::insert(tx.conn(), id, new).on_unique(
        "products_workspace_id_code_key",
        invalid("/code", FieldCode::NotUnique, "Another product has this code."),
    )?;
    outbox::emit(tx, PRODUCT_CREATED.of(id, &product))?;
    Ok(product)
}

/// A page of products.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<ProductFilters>) -> Result<Page<Product>> {
    let rows = queries::list(tx.conn(), query)?;
    Ok(query.page_of_changing(rows, |product| {
        (product.created_at, product.updated_at, product.id.uuid())
    }))
}

/// One product, in one round trip.
///
/// # Errors
/// 404.
pub(super) async fn show(db: &Db, scope: impl Into<Scope>, id: ProductId) -> Result<Product> {
    db.one(scope, queries::one(id.uuid())).await
}

/// The product that a body names, if it still sells.
///
/// # Errors
/// 422 if there is none, 409 `state-conflict` if it is archived.
pub fn open(tx: &mut Tenant<'_>, id: ProductId, pointer: &str) -> Result<Product> {
    let product = queries::hold(tx.conn(), id).map_err(|error| match error {
        diesel::result::Error::NotFound => missing(pointer, "product"),
        other => other.into(),
    })?;
    if product.archived_at.is_some() {
        return Err(STATE_CONFLICT
            .because("The product is archived: it issues no more licences.")
            .with("state", "archived")
            .into());
    }
    Ok(product)
}

/// Changes a product.
///
/// # Errors
/// 404, 412, 422.
pub(super) fn patch(tx: &mut Tenant<'_>, id: ProductId, seen: &IfMatch, change: &ProductPatch) -> Result<Product> {
    let before = queries::lock(tx.conn(), id)?;
    seen.allows(before.version)?;
    let after = queries::update(tx.conn(), id, &change.apply(&NewProduct::from(&before))?)?;
    if after.version != before.version {
        outbox::emit(tx, PRODUCT_UPDATED.of(id, &after).was(&before))?;
    }
    Ok(after)
}

/// Archives a product. One that is archived stays as it is.
///
/// # Errors
/// 404, 412.
pub(super) fn archive(tx: &mut Tenant<'_>, id: ProductId, seen: &IfMatch) -> Result<Product> {
    let before = queries::lock(tx.conn(), id)?;
    seen.allows(before.version)?;
    if before.archived_at.is_some() {
        return Ok(before);
    }
    let now = tx.now()?;
    let after = queries::archive(tx.conn(), id, now)?;
    outbox::emit(tx, PRODUCT_ARCHIVED.of(id, &after).after(&before))?;
    Ok(after)
}
