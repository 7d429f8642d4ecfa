//! The rules of definitions, and of the values that they allow.

use serde_json::Value;

use super::{
    model::{
        ENTITLEMENT_ARCHIVED, ENTITLEMENT_CREATED, ENTITLEMENT_UPDATED, Entitlement, EntitlementFilters, EntitlementId,
        EntitlementPatch, NewEntitlement, ValueType, Values,
    },
    queries,
};
use crate::kernel::{
    access::Scope,
    check::{Check, escape},
    db::{Db, Tenant},
    error::{FieldCode, OnConstraint, Result, invalid},
    http::IfMatch,
    outbox,
    page::{Page, PageQuery},
};

/// Defines an entitlement.
///
/// # Errors
/// 422 if another one has the code.
pub fn create(tx: &mut Tenant<'_>, new: &NewEntitlement) -> Result<Entitlement> {
    let id = EntitlementId::new(tx.now()?);
    let entitlement = queries::insert(tx.conn(), id, new).on_unique(
        "entitlement_defs_workspace_id_code_key",
        invalid("/code", FieldCode::NotUnique, "Another entitlement has this code."),
    )?;
    outbox::emit(tx, ENTITLEMENT_CREATED.of(id, &entitlement))?;
    Ok(entitlement)
}

/// A page of definitions.
pub(super) fn list(tx: &mut Tenant<'_>, query: &PageQuery<EntitlementFilters>) -> Result<Page<Entitlement>> {
    let rows = queries::list(tx.conn(), query)?;
    Ok(query.page_of_changing(rows, |row| (row.created_at, row.updated_at, row.id.uuid())))
}

/// One definition, in one round trip.
pub(super) async fn show(db: &Db, scope: impl Into<Scope>, id: EntitlementId) -> Result<Entitlement> {
    db.one(scope, queries::one(id.uuid())).await
}

/// Changes a definition.
pub(super) fn patch(
    tx: &mut Tenant<'_>,
    id: EntitlementId,
    seen: &IfMatch,
    change: &EntitlementPatch,
) -> Result<Entitlement> {
    let before = queries::lock(tx.conn(), id)?;
    seen.allows(before.version)?;
    let after = queries::update(tx.conn(), id, &change.apply(&NewEntitlement::from(&before))?)?;
    if after.version != before.version {
        outbox::emit(tx, ENTITLEMENT_UPDATED.of(id, &after).was(&before))?;
    }
    Ok(after)
}

/// Archives a definition. One that is archived stays as it is.
pub(super) fn archive(tx: &mut Tenant<'_>, id: EntitlementId, seen: &IfMatch) -> Result<Entitlement> {
    let before = queries::lock(tx.conn(), id)?;
    seen.allows(before.version)?;
    if before.archived_at.is_some() {
        return Ok(before);
    }
    let now = tx.now()?;
    let after = queries::archive(tx.conn(), id, now)?;
    outbox::emit(tx, ENTITLEMENT_ARCHIVED.of(id, &after).after(&before))?;
    Ok(after)
}

/// As many bytes as the values of one policy or licence have together, codes included: they go along with every licence and verdict.
const MOST_BYTES: usize = 16 << 10;

/// Judges values by their definitions. `at` is the pointer of the object that holds them; what `before` holds already may stay, whatever has
/// become of its definition.
///
/// # Errors
/// 422 with every value that is not acceptable.
pub fn judge(tx: &mut Tenant<'_>, values: &Values, before: &Values, at: &str) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let definitions = queries::of_codes(tx.conn(), &values.keys().collect::<Vec<_>>())?;
    let mut check = Check::default();
    let bytes = values.iter().map(|(code, value)| code.len() + value.to_string().len());
    if bytes.sum::<usize>() > MOST_BYTES {
        check.refuse(at, FieldCode::TooLarge, "At most 16 KiB in all.");
    }
    for (code, value) in values {
        let pointer = format!("{at}/{}", escape(code));
        match definitions.iter().find(|definition| definition.code == *code) {
            Some(_) if before.get(code) == Some(value) => {}
            Some(definition) if definition.archived_at.is_some() && !before.contains_key(code) => {
                check.refuse(pointer, FieldCode::NotFound, "That entitlement is archived.");
            }
            Some(definition) => {
                if let Err((code, detail)) = fits(definition, value) {
                    check.refuse(pointer, code, detail);
                }
            }
            None => check.refuse(pointer, FieldCode::NotFound, "There is no such entitlement."),
        }
    }
    check.done()
}

/// Whether a value is one of the definition's.
fn fits(definition: &Entitlement, value: &Value) -> Result<(), (FieldCode, String)> {
    let wrong = |what: &str| Err((FieldCode::WrongType, format!("Expected {what}.")));
    match (definition.value_type, value) {
        (ValueType::Boolean, Value::Bool(_)) | (ValueType::Integer, Value::Null) => Ok(()),
        (ValueType::Boolean, _) => wrong("true or false"),
        (ValueType::Integer, Value::Number(number)) if number.is_u64() => Ok(()),
        (ValueType::Integer, _) => wrong("a whole number from 0, or null for unlimited"),
        (ValueType::String, Value::String(text)) if text.chars().count() <= 500 => Ok(()),
        (ValueType::String, _) => wrong("a text of at most 500 characters"),
        (ValueType::Select, Value::String(text)) if definition.options.contains(text) => Ok(()),
        (ValueType::Select, _) => Err((
            FieldCode::InvalidChoice,
            format!("One of {}.", definition.options.join(", ")),
        )),
    }
}
