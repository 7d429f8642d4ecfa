//! HTTP of the audit log.

use actix_web::{get, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{
        AuditCheckpoint, AuditCheckpointPage, AuditEntry, AuditEntryPage, AuditFilters, AuditOutcome, CheckpointFilters,
    },
    service,
};
use crate::kernel::{
    access::{Can, perm},
    db::Db,
    error::Result,
    http::{Json, Lister, Listing, limits::Limits},
    page::{Page, PageQuery},
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes.service(list).service(checkpoints);
}

/// List audit entries.
///
/// Every change, with who made it and from where; and every write that was not allowed, once a minute with a count. An entry gets its place in the chain within seconds.
///
/// With `Accept: application/x-ndjson` it is all of them, at most 100,000, a line each, without `limit` and `cursor`. That is taken from the
/// limit `export`, three an hour unless the plan says more, needs the permission `audit:export` as well, and is an entry itself. An answer that
/// breaks off is not all of them.
#[utoipa::path(operation_id = "audit_entries_list",
               params(PageQuery<AuditFilters>,
                      ("actor_type" = Option<String>, Query, description = "Only by this kind of actor: `user`, `api_key`, `system`."),
                      ("actor_id" = Option<String>, Query, description = "Only by this actor: `usr_…`, `key_…`."),
                      ("action" = Option<String>, Query, description = "Only this: `member.updated`."),
                      ("subject_type" = Option<String>, Query, description = "Only about this kind of thing: `member`."),
                      ("subject_id" = Option<String>, Query, description = "Only about this one."),
                      ("outcome" = Option<AuditOutcome>, Query, description = "Only with this outcome."),
                      ("ip" = Option<String>, Query, description = "Only from this address."),
                      ("request_id" = Option<String>, Query, description = "Only what this request caused.")),
               responses((status = 200, description = "A page, or all rows.", content((AuditEntryPage = "application/json"), (AuditEntry = "application/x-ndjson")))),
               extensions(("x-permission" = json!("audit:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/audit-entries")]
async fn list(
    can: Can<perm::AuditRead>,
    db: Data<Db>,
    limits: Data<Limits>,
    query: PageQuery<AuditFilters>,
) -> Result<Listing<AuditEntry>> {
    if query.is_in_lines() {
        can.also::<perm::AuditExport>()?;
    }
    Lister::new(&db, &limits, can, query, service::list, "audit_log.exported")
        .answer()
        .await
}

/// List signed heads of the audit log.
///
/// Keep one elsewhere: as long as the list has its `seq` with the same `hash`, nothing before it was altered or cut off. By its signature anybody
/// sees that it is ours.
#[utoipa::path(operation_id = "audit_checkpoints_list",
               params(PageQuery<CheckpointFilters>),
               responses((status = 200, description = "A page.", body = AuditCheckpointPage)),
               extensions(("x-permission" = json!("audit:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/audit-checkpoints")]
async fn checkpoints(
    can: Can<perm::AuditRead>,
    db: Data<Db>,
    query: PageQuery<CheckpointFilters>,
) -> Result<Json<Page<AuditCheckpoint>>> {
    db.tenant(can, move |tx| service::checkpoints(tx, &query))
        .await
        .map(Json)
}
