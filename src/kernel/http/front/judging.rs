//! What can be said about a request before anybody knows who asks.

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use percent_encoding::percent_decode_str;

use super::{API_VERSION, Front, headers, path};
use crate::kernel::{
    access::{Caller, Via},
    check::is_percent_encoded,
    clock::Clock,
    error::{
        FieldCode, HEAD_TOO_LARGE, INVALID_PARAMETER, METHOD_NOT_ALLOWED, NOT_FOUND, Outcome, Problem, STARTING,
        UNKNOWN_API_VERSION, UNKNOWN_PARAMETER,
    },
    http::{
        extract::Fresh,
        operations::{Operation, Operations},
    },
};

/// The largest request head, in bytes: address and headers together.
const HEAD: usize = 16 << 10;

pub(super) fn judge_head(request: &ServiceRequest) -> Result<(), Box<Problem>> {
    let headers = request.headers().iter();
    let size: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    let host = uri.authority().map_or(0, |host| host.as_str().len());
    if size + target + host > HEAD {
        return Err(Box::new(HEAD_TOO_LARGE.into()));
    }
    Ok(())
}

pub(super) fn judge_version(request: &ServiceRequest) -> Result<(), Box<Problem>> {
    match headers::once(request.headers(), &headers::names::VERSION, "header/Guildhall-Version")? {
        Some(asked) if asked != API_VERSION => {
            let known = format!("The one that there is, is {API_VERSION}.");
            Err(Box::new(UNKNOWN_API_VERSION.because(known)))
        }
        _ => Ok(()),
    }
}

/// A process that was not let in yet has not seen whether tenants are kept apart, and may be about to be refused. Its probes and pages are
/// there.
pub(super) fn judge_start(path: &str, front: &Front) -> Result<(), Box<Problem>> {
    let of_tenants = path.starts_with("/api/") || path.starts_with("/.well-known/");
    match of_tenants && !front.readiness.has_booted() {
        true => Err(Box::new(
            Problem::from(STARTING)
                .outcome(Outcome::None)
                .retry_after(Duration::from_secs(1)),
        )),
        false => Ok(()),
    }
}

/// No address has U+0000 in it: PostgreSQL has no such text, so it names nothing.
pub(super) fn judge_path(path: &str) -> Result<(), Box<Problem>> {
    match path.contains('\0') {
        true => Err(Box::new(NOT_FOUND.into())),
        false => Ok(()),
    }
}

/// What is percent-encoded is text in UTF-8, and a % that encodes nothing is none: read as anything else it would be another question than was
/// asked.
pub(super) fn judge_encoding(query: &str) -> Result<(), Box<Problem>> {
    let is_text = |encoded: &str| is_percent_encoded(encoded) && percent_decode_str(encoded).decode_utf8().is_ok();
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    match pairs.find(|pair| !is_text(pair)) {
        None => Ok(()),
        Some(pair) => {
            let name = pair.split('=').next().filter(|name| is_text(name)).unwrap_or_default();
            let name: String = url::form_urlencoded::parse(name.as_bytes())
                .map(|(name, _)| name)
                .collect();
            let problem = INVALID_PARAMETER.because("Percent-encoded characters are UTF-8, and a % itself is %25.");
            let (pointer, detail) = (format!("query/{name}"), "This is not percent-encoded UTF-8.");
            Err(Box::new(problem.field(pointer, FieldCode::InvalidCharacters, detail)))
        }
    }
}

/// The document says which methods an address has. The router alone would take `GET /licenses/validate` for the licence of that name.
pub(super) fn judge_method(request: &ServiceRequest, operations: &Operations) -> Result<(), Box<Problem>> {
    match operations.allowed(path(request)) {
        Some(methods) => {
            let refused = METHOD_NOT_ALLOWED.because(format!("Here are {methods}."));
            Err(Box::new(refused.header("allow", methods)))
        }
        None => Ok(()),
    }
}

/// An operation that documents no query parameter has none: a typo must not be ignored. Asked only where the caller may know the answer.
pub(super) fn judge_query(
    request: &ServiceRequest,
    operation: &Operation,
    caller: &Caller,
    clock: &Clock,
) -> Result<(), Box<Problem>> {
    if operation.queries || request.query_string().is_empty() {
        return Ok(());
    }
    let is_late = operation.fresh && Fresh::of(&caller.person, clock.now().timestamp()).is_err();
    let may_know = match operation.permission {
        _ if is_late => false,
        // Where the workspace lets nobody in, that is what is wrong; the handler looks for both.
        None if operation.placed && caller.access.is_err() => false,
        Some(permission) => caller.access.as_ref().is_ok_and(|access| access.allows(permission)),
        // Most of what concerns an account alone wants a session; what takes keys as well looks for itself.
        None => {
            operation.public
                || caller
                    .person
                    .as_ref()
                    .is_ok_and(|person| matches!(person.via, Via::Session { .. }))
        }
    };
    let unknown = url::form_urlencoded::parse(request.query_string().as_bytes()).next();
    match unknown.filter(|_| may_know) {
        None => Ok(()),
        Some((name, _)) => {
            let problem = UNKNOWN_PARAMETER.because("This operation has no query parameters.");
            let (pointer, detail) = (format!("query/{name}"), "There is no such parameter.");
            Err(Box::new(problem.field(pointer, FieldCode::UnknownField, detail)))
        }
    }
}
