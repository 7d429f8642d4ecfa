//! `POST /inbox/stripe/{connection_id}`.

use actix_web::{
    HttpRequest, post,
    web::{Data, Payload},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    model::{ConnectionId, PLATFORM},
    service::{Door, Taken},
};
use crate::kernel::{
    error::Result,
    http::{Json, NoQuery, Path, Visit, read_body},
    id::Id,
};

/// Bytes of an event.
const LARGEST: usize = 1_024 * 1_024;

/// The one door of the inbox.
pub fn routes(routes: &mut ServiceConfig) {
    routes.service(receive);
}

/// What became of an event.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"outcome": "stored"}))]
pub struct Receipt {
    /// `stored`: it will be looked at; `known`: it was here already; `ignored`: it is of the other mode. New values may come.
    outcome: &'static str,
}

/// Receive an event of Stripe.
///
/// The body is taken as raw bytes and proven by `Stripe-Signature`; nothing in it is applied. Acknowledged as soon as it is stored.
#[utoipa::path(operation_id = "inbox_stripe", params(
                   ("connection_id" = String, Path, description = "The connection, or `platform` for the operator's own.", example = "platform"),
                   ("Stripe-Signature" = String, Header, description = "Time and signatures, as Stripe sends them.")),
               request_body(content = Object, description = "The event, as Stripe sends it.", content_type = "application/json"),
               responses((status = 200, description = "It is safe with us.", body = Receipt)),
               extensions(("x-public" = json!(true)), ("x-rate-class" = json!("ingress")), ("x-admission" = json!("ingress")),
                          ("x-body-limit" = json!(1_048_576))))]
#[post("/inbox/stripe/{connection_id}")]
async fn receive(
    visit: Visit,
    connection: Path<String>,
    _: NoQuery,
    request: HttpRequest,
    payload: Payload,
    door: Data<Door>,
) -> Result<Json<Receipt>> {
    let body = read_body(&request, &mut payload.into_inner(), LARGEST).await?;
    let to = match connection.0.as_str() {
        "platform" => PLATFORM,
        id => id.parse::<ConnectionId>().unwrap_or_else(|_| Id::nil()),
    };
    let mut headers = request.headers().get_all("stripe-signature");
    let header = match (headers.next().map(|value| value.to_str()), headers.next()) {
        (Some(Ok(text)), None) => text,
        _ => "",
    };
    let taken = door.take(visit.0, to, header, body.to_vec()).await?;
    Ok(Json(Receipt {
        outcome: match taken {
            Taken::Stored => "stored",
            Taken::Known => "known",
            Taken::Ignored => "ignored",
        },
    }))
}
