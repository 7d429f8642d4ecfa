//! `/_stub/…`: what a test or a newcomer does on behalf of shoppers, time and bad luck.

use actix_web::web::{Bytes, Data, Json, Path, Query, ServiceConfig, get, post, scope};
use actix_web::{HttpResponse, Responder};
use serde::Deserialize;
use serde_json::json;

use super::book::AfterLastRetry;
use super::fault::Fault;
use super::refusal::Told;
use super::{Purchase, Schedule, Stub};

/// The routes of the control surface. They take and answer JSON, need no key, and are in no release binary.
pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(
        scope("/_stub")
            .route("/purchases", post().to(purchase))
            .route("/advance", post().to(advance))
            .route("/deliver", post().to(deliver))
            .route("/sign", post().to(sign))
            .route("/faults", post().to(fault))
            .route("/settings", post().to(settings))
            .route("/endpoints", post().to(endpoint))
            .route("/endpoints/{id}/roll", post().to(roll))
            .route("/requests", get().to(requests))
            .route("/events", get().to(events)),
    );
}

fn told<T: serde::Serialize>(result: Told<T>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(refusal) => {
            let status = actix_web::http::StatusCode::from_u16(refusal.status);
            HttpResponse::build(status.unwrap_or_default()).json(refusal.body)
        }
    }
}

/// A customer takes a subscription and pays, or does not: the answer is the subscription.
async fn purchase(stub: Data<Stub>, purchase: Json<Purchase>) -> HttpResponse {
    told(stub.purchase(&purchase))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: i64,
}

/// Time passes: renewals, retries, trial ends and cancellations happen.
async fn advance(stub: Data<Stub>, by: Json<Advance>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "now": stub.advance(by.seconds.max(0)) }))
}

async fn deliver(stub: Data<Stub>, schedule: Json<Schedule>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "data": stub.deliver(&schedule).await }))
}

#[derive(Deserialize)]
struct Sign {
    endpoint: String,
}

/// The signature that Stripe would put on this body for that endpoint now.
async fn sign(stub: Data<Stub>, of: Query<Sign>, body: Bytes) -> HttpResponse {
    told(
        stub.signature(&of.endpoint, &body)
            .map(|header| json!({ "stripe_signature": header })),
    )
}

async fn fault(stub: Data<Stub>, fault: Json<Fault>) -> impl Responder {
    stub.inject(fault.into_inner());
    HttpResponse::NoContent()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    after_last_retry: AfterLastRetry,
}

async fn settings(stub: Data<Stub>, settings: Json<Settings>) -> impl Responder {
    stub.open().after_last_retry = settings.after_last_retry;
    HttpResponse::NoContent()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    url: String,
    secret: String,
}

/// Registers a receiver that already has its secret, as `stripe listen --forward-to` does.
async fn endpoint(stub: Data<Stub>, endpoint: Json<Endpoint>) -> impl Responder {
    let id = stub.listen(&endpoint.url, &endpoint.secret);
    HttpResponse::Created().json(json!({ "id": id }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roll {
    secret: Option<String>,
}

async fn roll(stub: Data<Stub>, id: Path<String>, roll: Json<Roll>) -> HttpResponse {
    told(
        stub.roll(&id, roll.into_inner().secret)
            .map(|secret| json!({ "secret": secret })),
    )
}

/// What was asked of the stub since it started.
async fn requests(stub: Data<Stub>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "data": stub.requests() }))
}

/// Events that some endpoint has not acknowledged yet.
async fn events(stub: Data<Stub>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "pending": stub.pending() }))
}
