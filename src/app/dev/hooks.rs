//! The hook catcher: whatever is posted to `/dev/hooks/{name}` can be read there again, as it came. For webhooks of a machine of one's
//! own; development only.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Path, Query, ServiceConfig, get, resource},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::kernel::clock::{Clock, written};

/// Requests that one name keeps; the oldest goes first.
const KEPT: usize = 200;

/// Names that are kept.
const NAMES: usize = 200;

/// What was caught.
#[derive(Default)]
pub(super) struct Hooks(Mutex<HashMap<String, VecDeque<Caught>>>);

/// One request, as it came.
#[derive(Clone, Serialize)]
struct Caught {
    received_at: String,
    /// In the order they came; a name may come twice.
    headers: Vec<(String, String)>,
    /// The body as text, `null` where it is none.
    body: Option<String>,
    /// The bytes themselves, what a signature is over.
    body_base64: String,
}

impl Hooks {
    fn catch(&self, name: &str, caught: Caught) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains_key(name) && names.len() >= NAMES {
            return false;
        }
        let line = names.entry(name.to_owned()).or_default();
        line.push_back(caught);
        if line.len() > KEPT {
            line.pop_front();
        }
        true
    }

    fn read(&self, name: &str) -> Vec<Caught> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .get(name)
            .map(|line| line.iter().cloned().collect())
            .unwrap_or_default()
    }

    fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Mounts `/dev/hooks/{name}`.
pub(super) fn routes(config: &mut ServiceConfig) {
    let hook = resource("/dev/hooks/{name}");
    config.service(
        hook.route(get().to(read))
            .route(actix_web::web::post().to(catch))
            .route(actix_web::web::delete().to(forget)),
    );
}

/// What a caught request is answered with, so that retries can be watched.
#[derive(Deserialize)]
struct Answer {
    status: Option<u16>,
}

async fn catch(
    request: HttpRequest,
    name: Path<String>,
    answer: Query<Answer>,
    body: Bytes,
    hooks: Data<Hooks>,
    clock: Data<Clock>,
) -> HttpResponse {
    // What is below is no answer yet.
    if answer.status.is_some_and(|status| !(200..600).contains(&status)) {
        return HttpResponse::BadRequest().body("status: 200 to 599");
    }
    let header = |value: &actix_web::http::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let caught = Caught {
        received_at: written(clock.now()),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), header(value)))
            .collect(),
        body: String::from_utf8(body.to_vec()).ok(),
        body_base64: STANDARD.encode(&body),
    };
    if !hooks.catch(&name, caught) {
        return HttpResponse::InsufficientStorage().finish();
    }
    let status = answer
        .status
        .and_then(|status| actix_web::http::StatusCode::from_u16(status).ok());
    HttpResponse::build(status.unwrap_or(actix_web::http::StatusCode::NO_CONTENT)).finish()
}

/// `{"data": [...]}`, the oldest first.
async fn read(name: Path<String>, hooks: Data<Hooks>) -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "data": hooks.read(&name) }))
}

async fn forget(name: Path<String>, hooks: Data<Hooks>) -> HttpResponse {
    hooks.forget(&name);
    HttpResponse::NoContent().finish()
}

#[cfg(test)]
mod tests {
    use actix_web::{App, test};
    use serde_json::Value;

    use super::*;

    #[actix_web::test]
    async fn what_is_posted_can_be_read_again_byte_for_byte() {
        let (hooks, clock) = (Data::new(Hooks::default()), Data::new(Clock::system()));
        let app = test::init_service(App::new().app_data(hooks).app_data(clock).configure(routes)).await;
        let post = |uri: &str, body: &'static [u8]| {
            let request = test::TestRequest::post()
                .uri(uri)
                .insert_header(("webhook-id", "msg_1"));
            test::call_service(&app, request.set_payload(body).to_request())
        };
        assert_eq!(post("/dev/hooks/mine", b"{\"a\": 1}").await.status(), 204);
        assert_eq!(post("/dev/hooks/mine?status=503", b"\xff\x00").await.status(), 503);
        assert_eq!(post("/dev/hooks/mine?status=101", b"").await.status(), 400);

        let get = test::TestRequest::get().uri("/dev/hooks/mine").to_request();
        let seen: Value = test::call_and_read_body_json(&app, get).await;

        assert_eq!(seen["data"][0]["body"], "{\"a\": 1}");
        assert_eq!(seen["data"][1]["body"], Value::Null);
        assert_eq!(seen["data"][1]["body_base64"], "/wA=");
        let headers = seen["data"][0]["headers"].as_array().expect("headers");
        assert!(headers.contains(&serde_json::json!(["webhook-id", "msg_1"])));
        let other = test::TestRequest::get().uri("/dev/hooks/other").to_request();
        let other: Value = test::call_and_read_body_json(&app, other).await;
        assert_eq!(other["data"], serde_json::json!([]));
    }
}
