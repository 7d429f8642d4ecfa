//! What handlers answer with.

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    body::BoxBody,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION},
    },
};
use serde::Serialize;

use crate::kernel::{
    error::{Error, METHOD_NOT_ALLOWED},
    idempotency::Once,
};

/// Says that an answer was made before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Made once, and not for every answer.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A thing whose version is its `ETag`.
pub trait Versioned {
    /// Whether it holds a secret that is shown only once: what is kept of the answer is sealed.
    const SECRET: bool = false;

    /// Raised by every change that the thing shows.
    fn version(&self) -> i64;

    /// The `ETag`. What shows something that the clock alone changes says it after the version, `"3-expired"`.
    fn tag(&self) -> String {
        format!("\"{}\"", self.version())
    }
}

/// A successful answer that can be stored and replayed.
pub trait Reply {
    /// What the body is made of.
    type Body: Serialize;
    /// Whether the body holds a secret: it is then stored sealed.
    const SECRET: bool = false;

    /// The HTTP status.
    fn status(&self) -> u16;
    /// Where the thing is, from the root of the server.
    fn location(&self) -> Option<String> {
        None
    }
    /// The `ETag`.
    fn tag(&self) -> Option<String> {
        None
    }
    /// The body; `None` for an empty one.
    fn body(&self) -> Option<&Self::Body>;
}

/// Where a thing lives: `/api/v1/things/{id}`.
pub trait Located {
    /// The path from the root of the server.
    fn path(&self) -> String;
}

/// 201 with `Location` and `ETag`.
pub struct Created<T>(pub T);

impl<T: Serialize + Located + Versioned> Reply for Created<T> {
    type Body = T;
    const SECRET: bool = T::SECRET;

    fn status(&self) -> u16 {
        201
    }
    fn location(&self) -> Option<String> {
        Some(self.0.path())
    }
    fn tag(&self) -> Option<String> {
        Some(self.0.tag())
    }
    fn body(&self) -> Option<&T> {
        Some(&self.0)
    }
}

/// 202 with `Location`: the work goes on.
pub struct Accepted<T>(pub T);

impl<T: Serialize + Located> Reply for Accepted<T> {
    type Body = T;

    fn status(&self) -> u16 {
        202
    }
    fn location(&self) -> Option<String> {
        Some(self.0.path())
    }
    fn body(&self) -> Option<&T> {
        Some(&self.0)
    }
}

/// 200 with `ETag`; 304 on a matching `If-None-Match`.
pub struct Tagged<T>(pub T);

impl<T: Serialize + Versioned> Reply for Tagged<T> {
    type Body = T;
    const SECRET: bool = T::SECRET;

    fn status(&self) -> u16 {
        200
    }
    fn tag(&self) -> Option<String> {
        Some(self.0.tag())
    }
    fn body(&self) -> Option<&T> {
        Some(&self.0)
    }
}

/// What a PUT left under its address, with `ETag`: 201 if there was nothing before, 200 otherwise.
pub struct Put<T> {
    /// Whether there was nothing before.
    pub made: bool,
    /// What is there now.
    pub thing: T,
}

impl<T: Serialize + Versioned> Reply for Put<T> {
    type Body = T;
    const SECRET: bool = T::SECRET;

    fn status(&self) -> u16 {
        match self.made {
            true => 201,
            false => 200,
        }
    }
    fn tag(&self) -> Option<String> {
        Some(self.thing.tag())
    }
    fn body(&self) -> Option<&T> {
        Some(&self.thing)
    }
}

/// 200.
pub struct Json<T>(pub T);

impl<T: Serialize> Reply for Json<T> {
    type Body = T;

    fn status(&self) -> u16 {
        200
    }
    fn body(&self) -> Option<&T> {
        Some(&self.0)
    }
}

/// 204.
pub struct NoContent;

impl Reply for NoContent {
    type Body = ();

    fn status(&self) -> u16 {
        204
    }
    fn body(&self) -> Option<&()> {
        None
    }
}

/// Whether the caller has what this tag names.
pub fn is_known(request: &HttpRequest, tag: &str) -> bool {
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    // Compressing proxies weaken tags; this comparison is the weak one (RFC 9110 §13.1.2).
    let matches = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag;
    known.is_some_and(|known| known.split(',').map(str::trim).any(matches))
}

/// What answers a page that is asked for in any other way than to be looked at.
pub async fn only_looked_at() -> Result<HttpResponse, Error> {
    let refused = METHOD_NOT_ALLOWED.because("Here are GET, HEAD.");
    Err(refused.header("allow", "GET, HEAD").into())
}

/// Writes an answer.
pub(in crate::kernel) fn write<R: Reply>(reply: &R, request: &HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status()).expect("a real status"));
    if let Some(location) = reply.location() {
        response.insert_header((LOCATION, location));
    }
    if let Some(tag) = reply.tag() {
        response
            .insert_header((ETAG, tag.as_str()))
            .insert_header((CACHE_CONTROL, "private, no-cache"));
        if is_known(request, &tag) && reply.status() == 200 && (request.method() == "GET" || request.method() == "HEAD")
        {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
    }
    match reply.body() {
        Some(body) => {
            let body = serde_json::to_vec(body).expect("answers are plain values");
            response.insert_header((CONTENT_TYPE, JSON)).body(body)
        }
        None => response.finish(),
    }
}

macro_rules! responders {
    ($($reply:ident<T: $first:ident $(+ $more:ident)*>),*) => {$(
        impl<T: $first $(+ $more)*> Responder for $reply<T> {
            type Body = BoxBody;
            fn respond_to(self, request: &HttpRequest) -> HttpResponse {
                write(&self, request)
            }
        }
    )*};
}

responders!(Created<T: Serialize + Located + Versioned>, Put<T: Serialize + Versioned>, Accepted<T: Serialize + Located>, Tagged<T: Serialize + Versioned>, Json<T: Serialize>);

impl Responder for NoContent {
    type Body = BoxBody;
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        write(&self, request)
    }
}

impl<R: Reply> Responder for Once<R> {
    type Body = BoxBody;

    /// The answer; one that was made before says so.
    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        match self {
            Once::Now(reply) => write(&reply, request),
            Once::Before(stored) => {
                let mut response = HttpResponse::build(StatusCode::from_u16(stored.status).expect("a real status"));
                response.insert_header((REPLAYED, "true"));
                if let Some(location) = stored.location {
                    response.insert_header((LOCATION, location));
                }
                if let Some(tag) = stored.tag {
                    response.insert_header((ETAG, tag));
                }
                match stored.body {
                    Some(body) => response.insert_header((CONTENT_TYPE, JSON)).body(body.get().to_owned()),
                    None => response.finish(),
                }
            }
        }
    }
}
