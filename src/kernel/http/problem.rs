//! Refusals on the wire: every answer that is not a success is `application/problem+json` (RFC 9457).

use std::time::Duration;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
    },
};
use serde_json::{Map, Value, json};

use crate::kernel::{
    error::{
        Error, HEAD_TOO_LARGE, INTERNAL, Kind, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, Outcome, Problem, REQUEST_TIMEOUT,
        ROUTE_NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, VALIDATION_FAILED,
    },
    id::quick_random,
};

/// What the framework itself may answer with.
const FALLBACKS: [(u16, Kind); 7] = [
    (400, crate::kernel::error::INVALID_PARAMETER),
    (404, ROUTE_NOT_FOUND),
    (405, METHOD_NOT_ALLOWED),
    (406, NOT_ACCEPTABLE),
    (408, REQUEST_TIMEOUT),
    (415, UNSUPPORTED_MEDIA_TYPE),
    (431, HEAD_TOO_LARGE),
];

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        let status = match self {
            Error::Refused(problem) => problem.kind().status,
            Error::Broken(_) => 500,
        };
        StatusCode::from_u16(status).expect("the catalogue has real statuses")
    }

    /// The bare answer. The front door completes it: only there are the request id and the base of `type` known.
    fn error_response(&self) -> HttpResponse {
        bare(match self {
            Error::Refused(problem) => (**problem).clone(),
            Error::Broken(error) => {
                let mut response = bare(INTERNAL.into());
                response.extensions_mut().insert(Broke {
                    error: format!("{error:?}"),
                    event: crate::kernel::telemetry::event_of(error),
                });
                return response;
            }
        })
    }
}

/// Why an answer is a 500, for the log and for Sentry. The front door tells them, for it knows the request's id.
pub(in crate::kernel) struct Broke {
    error: String,
    event: sentry::protocol::Event<'static>,
}

impl Broke {
    /// Tells whoever looks after the server.
    pub(in crate::kernel) fn tell(mut self, request_id: &str) {
        tracing::error!(request_id, error = self.error, "a request broke");
        self.event.tags.insert("request_id".into(), request_id.to_owned());
        sentry::capture_event(self.event);
    }
}

/// A refusal that the front door still has to complete.
pub(in crate::kernel) fn bare(problem: Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.kind().status).expect("the catalogue has real statuses");
    let mut response = HttpResponse::new(status);
    response.extensions_mut().insert(problem);
    response
}

/// What stands for an answer of the framework's own that is not a success.
pub(in crate::kernel) fn stand_in(status: StatusCode) -> Problem {
    let found = FALLBACKS
        .iter()
        .find(|(known, _)| *known == status.as_u16())
        .map(|(_, kind)| *kind);
    match found {
        Some(kind) => kind.into(),
        None if status.is_server_error() => INTERNAL.into(),
        None => VALIDATION_FAILED.into(),
    }
}

/// The media type of every refusal.
pub(in crate::kernel) const PROBLEM_JSON: &str = "application/problem+json";

fn document(problem: &Problem, base: &str, request_id: &str, retry_after: Option<Duration>) -> Value {
    let (kind, case) = (problem.kind, problem.case());
    let mut document = Map::new();
    document.insert("type".into(), json!(format!("{base}/problems/{}", kind.code)));
    document.insert("title".into(), json!(kind.title));
    document.insert("status".into(), json!(kind.status));
    if let Some(detail) = case.detail.as_ref().filter(|_| kind.status != 500) {
        document.insert("detail".into(), json!(detail));
    }
    document.insert("code".into(), json!(kind.code));
    document.insert("request_id".into(), json!(request_id));
    if !case.errors.is_empty() {
        document.insert("errors".into(), json!(case.errors));
    }
    if kind.status == 503 && !case.members.contains_key("outcome") {
        document.insert("outcome".into(), json!(Outcome::None));
    }
    if let Some(after) = retry_after.filter(|_| kind.status == 429) {
        document.insert("retry_after_seconds".into(), json!(whole_seconds(after)));
    }
    document.extend(
        case.members
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    let links = case.links.iter();
    document.extend(links.map(|(name, path)| ((*name).to_owned(), json!(format!("{base}{path}")))));
    Value::Object(document)
}

/// Writes the document, and around it the answer.
pub(in crate::kernel) fn render(problem: &Problem, base: &str, request_id: &str) -> HttpResponse {
    let (kind, case) = (problem.kind, problem.case());
    let retry_after = case
        .retry_after
        .or_else(|| matches!(kind.status, 429 | 503).then(jitter));
    let document = document(problem, base, request_id, retry_after);

    let mut response = HttpResponse::build(StatusCode::from_u16(kind.status).expect("a real status"));
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)));
    if let Some(after) = retry_after {
        response.insert_header((RETRY_AFTER, whole_seconds(after)));
    }
    for (name, value) in &case.headers {
        if *name == "connection" {
            // The server writes this header itself, and drops it where others set it.
            response.force_close();
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(value.as_str())) {
            response.insert_header((name, value));
        }
    }
    response.body(document.to_string())
}

/// A refusal whose document is written once, but for the name of the request.
pub struct Prebuilt {
    kind: Kind,
    before: Box<str>,
    after: Box<str>,
}

impl Prebuilt {
    /// Writes the document of a 503.
    pub fn new(problem: &Problem, base: &str) -> Prebuilt {
        const NAME: &str = "<the request's>";
        let text = document(problem, base, NAME, None).to_string();
        let (before, after) = text.split_once(NAME).expect("the document names the request");
        Prebuilt {
            kind: problem.kind,
            before: before.into(),
            after: after.into(),
        }
    }

    /// The code of the refusal.
    pub(in crate::kernel) fn code(&self) -> &'static str {
        self.kind.code
    }

    /// The answer to one request. Its name must be plain, as [`super::headers::request_id`] sees to.
    pub(in crate::kernel) fn answer(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(StatusCode::from_u16(self.kind.status).expect("a real status"));
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)));
        response.insert_header((RETRY_AFTER, whole_seconds(jitter())));
        response.body([&*self.before, request_id, &*self.after].concat())
    }
}

/// Rounded up, at least one.
fn whole_seconds(after: Duration) -> u64 {
    after.as_millis().div_ceil(1_000).max(1) as u64
}

/// One to three seconds, so that those who were sent away do not come back together.
fn jitter() -> Duration {
    Duration::from_secs(1 + quick_random() % 3)
}
