//! The rules, each a plain comparison of the snapshot with the registry.

mod code;
mod definitions;
mod keys;
mod policies;
mod roles;
mod tables;

use std::cmp::Ordering;

use diesel::{PgConnection, RunQueryDsl};

use super::{
    Report,
    registry::{DEFINITIONS, Registry},
    snapshot::Snapshot,
};
use crate::kernel::error::Result;

/// Judges a snapshot. `ahead`: the database knows migrations that this binary does not.
pub(super) fn judge(snapshot: &Snapshot, registry: &Registry, ahead: bool) -> Report {
    let mut report = Report::default();
    roles::judge(snapshot, &mut report);
    tables::judge(snapshot, registry, ahead, &mut report);
    policies::judge(snapshot, registry, &mut report);
    keys::judge(snapshot, registry, &mut report);
    definitions::judge(snapshot, &DEFINITIONS, ahead, &mut report);
    code::judge(snapshot, registry, &mut report);
    report
}

diesel::define_sql_function! {
    /// The newest migration that ran.
    fn schema_version() -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

/// Whether the database has the function that names its newest migration.
pub(super) fn tells_its_version(snapshot: &Snapshot) -> bool {
    let mut functions = snapshot.functions.iter();
    functions.any(|function| function.name == "schema_version")
}

/// How the database's newest migration compares to this binary's. One that knows none has no such function either.
pub(super) fn schema_is(conn: &mut PgConnection, snapshot: &Snapshot, newest: &str) -> Result<Ordering> {
    if !tells_its_version(snapshot) {
        return Ok(Ordering::Less);
    }
    let there: Option<String> = diesel::select(schema_version()).get_result(conn)?;
    Ok(there.unwrap_or_default().as_str().cmp(newest))
}
