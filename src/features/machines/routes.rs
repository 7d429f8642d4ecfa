//! HTTP of machines.

use actix_web::{delete, get, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{Activated, Beat, Machine, MachineFilters, MachinePage, MachineState, NewMachine, Pulse},
    service::{self, Wanting},
};
use crate::{
    features::licenses::MachineId,
    kernel::{
        access::{Can, perm},
        db::Db,
        error::{FieldCode, Result, invalid},
        http::{Holder, IdempotencyKey, IfMatch, Json, NoContent, NoQuery, Path, Tagged, Valid},
        id::LicenseId,
        idempotency::{Once, once},
        page::{Page, PageQuery},
        peppers::Peppers,
    },
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(activate)
        .service(list)
        .service(show)
        .service(deactivate)
        .service(heartbeat);
}

/// Activate a machine.
///
/// By the customer's software with its key (`Authorization: License …`), or by the vendor with `license_id`. A machine that has its place
/// already is answered with 200 and takes no second one; what is said of it holds from now on: its names, its sizes, of which the licence must
/// have as much left, and the vendor's own key for it. What is not said stays.
#[utoipa::path(operation_id = "machines_activate", request_body = NewMachine,
               responses((status = 201, description = "It has a place now.", body = Activated, headers(("ETag" = String))),
                         (status = 200, description = "It had its place already.", body = Activated, headers(("ETag" = String)))),
               extensions(("x-permission" = json!("machines:write")), ("x-license" = json!(true)), ("x-idempotent" = json!(true)),
                          ("x-body-limit" = json!(65_536)), ("x-rate-class" = json!("activation")), ("x-admission" = json!("interactive"))))]
#[post("/licenses/activate")]
async fn activate(
    holder: Holder<perm::MachinesWrite>,
    db: Data<Db>,
    peppers: Data<Peppers>,
    key: IdempotencyKey,
    new: Valid<NewMachine>,
) -> Result<Once<Activated>> {
    let who = match (holder.software(), new.license_id) {
        (Some(_), Some(_)) => {
            let detail = "The key that was shown says which licence is meant.";
            return Err(invalid("/license_id", FieldCode::ConflictsWith, detail));
        }
        (Some(_), None) if new.external_id.is_some() => {
            let detail = "Only the vendor says it.";
            return Err(invalid("/external_id", FieldCode::ConflictsWith, detail));
        }
        (Some(software), None) => Wanting::from(software),
        (None, Some(license)) => Wanting::Vendor(license),
        (None, None) => return Err(invalid("/license_id", FieldCode::Required, "This field is required.")),
    };
    let scope = holder.scope();
    let pepper = peppers.of(scope.call(), scope.workspace()).await?;
    let hash = service::fingerprint(&pepper, &new.fingerprint);
    db.tenant(holder, move |tx| {
        once(tx, &key, &new, |tx| service::activate_for(tx, who, &new, hash))
    })
    .await
}

/// List machines.
#[utoipa::path(operation_id = "machines_list",
               params(PageQuery<MachineFilters>,
                      ("license_id" = Option<LicenseId>, Query, description = "Only this licence's."),
                      ("state" = Option<MachineState>, Query, description = "Only those that stand so."),
                      ("external_id" = Option<String>, Query, description = "Only those with this key of yours.")),
               responses((status = 200, description = "A page.", body = MachinePage)),
               extensions(("x-permission" = json!("machines:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/machines")]
async fn list(
    can: Can<perm::MachinesRead>,
    db: Data<Db>,
    query: PageQuery<MachineFilters>,
) -> Result<Json<Page<Machine>>> {
    db.tenant(can, move |tx| service::list(tx, &query)).await.map(Json)
}

/// Show a machine.
#[utoipa::path(operation_id = "machines_get", params(("id" = MachineId, Path, description = "The machine.")),
               responses((status = 200, description = "The machine.", body = Machine), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("machines:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/machines/{id}")]
async fn show(
    can: Can<perm::MachinesRead>,
    db: Data<Db>,
    id: Path<MachineId>,
    _none: NoQuery,
) -> Result<Tagged<Machine>> {
    service::show(&db, can, id.0).await.map(Tagged)
}

/// Deactivate a machine.
///
/// Its place is free at once. By the vendor, or by the customer's software with its key for a machine of its own licence.
#[utoipa::path(operation_id = "machines_deactivate", params(("id" = MachineId, Path, description = "The machine.")),
               responses((status = 204, description = "Its place is free.")),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("machines:write")), ("x-license" = json!(true)),
                          ("x-rate-class" = json!("public")), ("x-admission" = json!("interactive"))))]
#[delete("/machines/{id}")]
async fn deactivate(
    holder: Holder<perm::MachinesWrite>,
    db: Data<Db>,
    id: Path<MachineId>,
    seen: IfMatch,
    _none: NoQuery,
) -> Result<NoContent> {
    let scope = holder.scope().clone();
    db.tenant(scope, move |tx| {
        service::deactivate_for(tx, holder.software(), id.0, &seen)
    })
    .await?;
    Ok(NoContent)
}

/// Give a machine's sign of life.
///
/// It names its `generation`; one whose activation is over is told so with 409 `lease-lost`.
#[utoipa::path(operation_id = "machines_heartbeat", params(("id" = MachineId, Path, description = "The machine.")), request_body = Beat,
               responses((status = 200, description = "When the next one is due.", body = Pulse)),
               extensions(("x-permission" = json!("machines:write")), ("x-license" = json!(true)), ("x-body-limit" = json!(65_536)),
                          ("x-rate-class" = json!("public")), ("x-admission" = json!("interactive"))))]
#[post("/machines/{id}/heartbeat")]
async fn heartbeat(
    holder: Holder<perm::MachinesWrite>,
    db: Data<Db>,
    id: Path<MachineId>,
    _none: NoQuery,
    beat: Valid<Beat>,
) -> Result<Json<Pulse>> {
    let scope = holder.scope().clone();
    let heard = db
        .tenant(scope, move |tx| service::beat(tx, holder.software(), id.0, &beat))
        .await?;
    heard.into_result().map(Json)
}
