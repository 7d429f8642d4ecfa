//! Where the keys of licences lead: a row says which workspace to ask, never that a key is valid.

use diesel::{
    ExpressionMethods, NullableExpressionMethods, OptionalExtension, PgConnection, QueryDsl, QueryResult, Queryable,
    RunQueryDsl,
};
use uuid::Uuid;

use crate::kernel::{
    db::Tenant,
    error::Result,
    id::{LicenseId, WorkspaceId},
    schema::license_directory,
};

/// A key of a licence, as the directory has it.
pub struct Key {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The key's own row.
    pub id: Uuid,
    /// Its licence.
    pub license: LicenseId,
    /// The licence's product.
    pub product: Uuid,
}

/// Enters a key that was just made. It can be shown at the door as soon as the transaction has committed.
///
/// # Errors
/// 503 if the database fails.
pub fn add(tx: &mut Tenant<'_>, key: &Key) -> Result<()> {
    let row = (
        license_directory::workspace_id.eq(tx.workspace()),
        license_directory::key_hash.eq(key.hash.as_slice()),
        license_directory::kind.eq("key"),
        license_directory::license_id.eq(key.license.uuid()),
        license_directory::ref_id.eq(key.id),
        license_directory::product_id.eq(key.product),
    );
    diesel::insert_into(license_directory::table)
        .values(row)
        .execute(tx.conn())?;
    Ok(())
}

/// Where a key leads.
#[derive(Clone, Copy, Debug, Queryable)]
pub(in crate::kernel) struct Place {
    pub(in crate::kernel) workspace: WorkspaceId,
    pub(in crate::kernel) license: LicenseId,
}

/// Where the generated key of this hash leads. As `app_kernel`.
pub(in crate::kernel) fn find(conn: &mut PgConnection, hash: &[u8]) -> QueryResult<Option<Place>> {
    license_directory::table
        .filter(license_directory::key_hash.eq(hash))
        .filter(license_directory::kind.eq("key"))
        .select((
            license_directory::workspace_id,
            license_directory::license_id.assume_not_null(),
        ))
        .first(conn)
        .optional()
}
