//! The front door: what every request goes through, outermost first. It names the request, finds out who calls, sets the deadline, and
//! sees to it that whatever comes back is an answer of ours: with its headers, its log line, and as a problem if it is a refusal.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        Method,
        header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use ipnet::IpNet;

use super::{
    operations::{Operation, Operations},
    problem,
};
use crate::kernel::{
    access::{Call, Credential, Doorkeeper},
    clock::Clock,
    error::{DEADLINE_EXCEEDED, INTERNAL, Outcome, Problem},
    id::RequestId,
    secret::Secret,
    trace::Trace,
};

/// The date of the newest API version.
pub const API_VERSION: &str = "2026-11-01";

/// What the front door needs. One per process.
pub struct Front {
    /// Every mounted operation.
    pub operations: Arc<Operations>,
    /// Who may come in.
    pub doorkeeper: Data<Doorkeeper>,
    /// The time.
    pub clock: Clock,
    /// The base of problem types and links.
    pub public_url: String,
    /// Whose word about the caller's address is taken.
    pub trusted_proxies: Vec<IpNet>,
}

/// The middleware.
///
/// # Errors
/// Never a failure of its own: an error it returns carries the finished answer.
pub async fn front(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let front = request
        .app_data::<Data<Front>>()
        .expect("mounted with the server")
        .clone();
    let started = Instant::now();
    let operation = front
        .operations
        .find(request.method(), request.path())
        .unwrap_or(front.operations.unlisted())
        .clone();
    if request.method() == Method::HEAD {
        // The server leaves the body out by itself; the routes only know GET.
        request.head_mut().method = Method::GET;
    }
    let call = call(&request, &operation, &front, started);
    let seen = Seen {
        request_id: call.request_id.clone(),
        method: request.method().clone(),
        trace: call.trace,
    };

    let caller = front
        .doorkeeper
        .judge(
            &credential(request.headers()),
            workspace(request.headers()),
            call,
            operation.is_sensitive(),
        )
        .await;
    request.extensions_mut().insert(caller);
    let patience = operation.deadline() + body_time(&request);
    let answer = AssertUnwindSafe(tokio::time::timeout(patience, next.call(request)))
        .catch_unwind()
        .await;

    let finish = |response: HttpResponse| {
        let mut response = in_our_words(response, &front.public_url, &seen.request_id);
        dress(&mut response, &seen.request_id);
        seen.note(&operation, &response, started.elapsed());
        response
    };
    match answer {
        Ok(Ok(Ok(answered))) => {
            let (request, response) = answered.into_parts();
            Ok(ServiceResponse::new(request, finish(response.map_into_boxed_body())))
        }
        Ok(Ok(Err(error))) => Err(wrap(finish(error.as_response_error().error_response()))),
        Ok(Err(_late)) => {
            let outcome = if seen.method == Method::GET {
                Outcome::None
            } else {
                Outcome::Unknown
            };
            Err(wrap(finish(problem::bare(
                Problem::from(DEADLINE_EXCEEDED).outcome(outcome),
            ))))
        }
        Err(panic) => {
            tracing::error!(panic = words(&*panic), request_id = %seen.request_id, "a handler panicked");
            Err(wrap(finish(problem::bare(INTERNAL.into()))))
        }
    }
}

/// Whatever is not a success becomes a problem document, the framework's own answers too.
fn in_our_words(mut response: HttpResponse, base: &str, request_id: &str) -> HttpResponse {
    let status = response.status();
    let ours = response
        .headers()
        .get("content-type")
        .is_some_and(|value| value.as_bytes() == b"application/problem+json");
    if !(status.is_client_error() || status.is_server_error()) || ours {
        return response;
    }
    let known = response.extensions_mut().remove::<Problem>();
    problem::render(&known.unwrap_or_else(|| problem::stand_in(status)), base, request_id)
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("?")
}

/// A finished answer as the error that carries it: after a panic or a lost race there is no request left to answer to.
fn wrap(response: HttpResponse) -> ActixError {
    InternalError::from_response("answered", response).into()
}

struct Seen {
    request_id: Arc<str>,
    method: Method,
    trace: Trace,
}

impl Seen {
    /// One line per request.
    fn note(&self, operation: &Operation, response: &HttpResponse, took: Duration) {
        tracing::info!(
            request_id = %self.request_id,
            trace_id = %self.trace.id(),
            operation = operation.id,
            method = %self.method,
            status = response.status().as_u16(),
            ms = took.as_secs_f64() * 1_000.0,
            "request"
        );
    }
}

fn call(request: &ServiceRequest, operation: &Operation, front: &Front, started: Instant) -> Call {
    let peer = request.peer_addr().map(|address| address.ip());
    let trusted = peer.is_some_and(|peer| front.trusted_proxies.iter().any(|network| network.contains(&peer)));
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let given = text("x-request-id").filter(|id| trusted && is_request_id(id));
    Call {
        request_id: given.map_or_else(|| RequestId::new(front.clock.now()).to_string().into(), Arc::from),
        trace: text("traceparent").and_then(Trace::continued).unwrap_or_default(),
        operation: operation.id,
        class: operation.admission,
        deadline: started + operation.deadline() + body_time(request),
        read_only: request.method() == Method::GET,
        session: None,
        ip: address(request.headers(), peer, trusted, &front.trusted_proxies),
        user_agent: text(USER_AGENT.as_str()).map(|agent| agent.chars().take(400).collect()),
    }
}

fn is_request_id(text: &str) -> bool {
    (8..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The peer, unless it is a trusted proxy: then the right-most hop that is not.
fn address(headers: &HeaderMap, peer: Option<IpAddr>, trusted: bool, proxies: &[IpNet]) -> Option<IpAddr> {
    if !trusted {
        return peer;
    }
    let hops = headers
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    let stranger = hops
        .rsplit(',')
        .map_while(|hop| hop.trim().parse::<IpAddr>().ok())
        .find(|hop| !proxies.iter().any(|network| network.contains(hop)));
    stranger.or(peer)
}

/// A body may take its time to arrive; the handler's own time begins after it.
fn body_time(request: &ServiceRequest) -> Duration {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(0) => Duration::ZERO,
        Some(bytes) => Duration::from_secs(10 + bytes / 65_536),
        None if request.headers().contains_key("transfer-encoding") => Duration::from_secs(10 + 16),
        None => Duration::ZERO,
    }
}

/// The one credential of a request.
fn credential(headers: &HeaderMap) -> Credential {
    let mut found = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')) else {
            found.push(Credential::Token(Secret::new(String::new())));
            continue;
        };
        let token = token.trim().to_owned();
        found.push(if scheme.eq_ignore_ascii_case("license") {
            Credential::License(Secret::new(token))
        } else if scheme.eq_ignore_ascii_case("bearer") && token.starts_with("gld_") {
            Credential::Key(Secret::new(token))
        } else {
            Credential::Token(Secret::new(if scheme.eq_ignore_ascii_case("bearer") {
                token
            } else {
                String::new()
            }))
        });
    }
    for value in headers.get_all("x-api-key") {
        found.push(Credential::Key(Secret::new(
            value.to_str().unwrap_or_default().trim().to_owned(),
        )));
    }
    if let Some(token) = cookie(headers, ACCESS_COOKIE) {
        found.push(Credential::Token(Secret::new(token)));
    }
    match found.len() {
        0 => Credential::None,
        1 => found.remove(0),
        _ => Credential::Several,
    }
}

/// The cookie that holds a browser's access token.
pub const ACCESS_COOKIE: &str = "__Host-gld_at";

/// The value of a cookie.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all("cookie")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
}

fn workspace(headers: &HeaderMap) -> Option<&str> {
    headers
        .get("guildhall-workspace")
        .map(|value| value.to_str().unwrap_or_default().trim())
}

/// The headers of every answer.
fn dress(response: &mut HttpResponse, request_id: &str) {
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        let name = HeaderName::from_static(name);
        if let Ok(value) = HeaderValue::from_str(value)
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    };
    set("x-request-id", request_id);
    set("guildhall-version", API_VERSION);
    set("cache-control", "no-store");
    set("strict-transport-security", "max-age=63072000; includeSubDomains");
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    set("cross-origin-resource-policy", "same-origin");
    set("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
}
