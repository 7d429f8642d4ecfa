//! `GET /billing`, `GET /plans`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse, get,
    http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL},
    web::Data,
};
use tokio::sync::Mutex;
use utoipa_actix_web::service_config::ServiceConfig;

use super::model::{Bill, PlanList};
use crate::{
    features::store,
    kernel::{
        access::{Can, perm},
        db::Db,
        error::Result,
        http::{Json, NoQuery, Visit},
        plans,
    },
};

/// The routes of the slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes.service(bill).service(list_plans);
}

/// Show the workspace's plan and how its bill stands.
///
/// Answered from what is known here; Stripe is not asked.
#[utoipa::path(operation_id = "billing_get", responses((status = 200, description = "The plan and the bill.", body = Bill)),
               extensions(("x-permission" = json!("billing:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/billing")]
async fn bill(can: Can<perm::BillingRead>, db: Data<Db>, _: NoQuery) -> Result<Json<Bill>> {
    let plan = plans::current(&db, can.scope()).await?;
    let buyer = plans::buyer(&db, &can).await?;
    let customer_id = buyer.as_ref().and_then(|buyer| buyer.reach().customer);
    let standing = match buyer {
        Some(buyer) => Some(db.tenant(buyer, store::standing).await?),
        None => None,
    };
    let standing = standing.unwrap_or_default();
    Ok(Json(Bill {
        plan,
        customer_id,
        stripe_customer: standing.stripe_customer,
        subscription: standing.subscription,
        dunning: standing.dunning,
        next_invoice: standing.next_invoice,
    }))
}

/// The published plans, remembered for a minute.
#[derive(Clone, Default)]
pub struct PlanCache(Arc<Mutex<Option<(Instant, PlanList)>>>);

const REMEMBERED: Duration = Duration::from_secs(60);

impl PlanCache {
    async fn list(&self, db: &Db, visit: &Visit) -> Result<PlanList> {
        let mut known = self.0.lock().await;
        if let Some((_, list)) = known.as_ref().filter(|(since, _)| since.elapsed() < REMEMBERED) {
            return Ok(list.clone());
        }
        let mut data = plans::published(db, &visit.0).await?;
        data.retain(|plan| plan.public && !plan.archived);
        let list = PlanList { data };
        *known = Some((Instant::now(), list.clone()));
        Ok(list)
    }
}

/// List the plans that workspaces can have.
///
/// With their prices in every currency and what each allows. Remembered for up to a minute.
#[utoipa::path(operation_id = "plans_list", responses((status = 200, description = "The plans, the smallest first.", body = PlanList)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("anonymous")), ("x-admission" = json!("interactive"))))]
#[get("/plans")]
async fn list_plans(visit: Visit, db: Data<Db>, cache: Data<PlanCache>, _: NoQuery) -> Result<HttpResponse> {
    let list = cache.list(&db, &visit).await?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CACHE_CONTROL, "public, max-age=60"))
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    Ok(answer.json(list))
}
