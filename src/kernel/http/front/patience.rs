//! How long a request may take.

use std::time::Duration;

use actix_web::{
    dev::ServiceRequest,
    http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING},
};

use crate::kernel::http::{operations::Operation, prefer};

/// What the first rows of an export may take longer than a page.
const EXPORT: Duration = Duration::from_secs(28);

/// What a request may take beside the handler's own time: for its body to arrive, for what it asked to wait for, and to begin an export.
pub(super) fn more_time(request: &ServiceRequest, operation: &Operation) -> Duration {
    let mut more = body_time(request, operation);
    if operation.waits {
        more += asked_wait(request);
    }
    if operation.is_export(request.headers()) {
        more += EXPORT;
    }
    more
}

/// As far as it can be read: the handler judges it.
fn asked_wait(request: &ServiceRequest) -> Duration {
    let mut query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let named = query
        .find(|(name, _)| name == "wait")
        .map(|(_, seconds)| seconds.parse().ok());
    let seconds = named.unwrap_or_else(|| prefer::wait(request.headers()));
    Duration::from_secs(seconds.unwrap_or(0).min(prefer::LONGEST))
}

/// How long the body is, if its head says so.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(&CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body may take its time to arrive; the handler's own time begins after it. One that the operation does not take gives it none.
fn body_time(request: &ServiceRequest, operation: &Operation) -> Duration {
    if operation.reads {
        return Duration::ZERO;
    }
    let longest = operation.body_limit as u64;
    match content_length(request.headers()) {
        Some(0) => Duration::ZERO,
        Some(bytes) => Duration::from_secs(10 + bytes.min(longest) / 65_536),
        None if request.headers().contains_key(&TRANSFER_ENCODING) => Duration::from_secs(10 + longest / 65_536),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::kernel::http::operations::Operations;

    #[test]
    fn a_length_gives_no_more_time_than_the_longest_body_takes() {
        let operations = Operations::read(&utoipa::openapi::OpenApi::default()).expect("an empty document");
        let writes = operations.unlisted();
        let reads = Operation {
            reads: true,
            ..writes.clone()
        };
        let time = |operation: &Operation, length: &str| {
            let request = TestRequest::default().insert_header((CONTENT_LENGTH, length));
            body_time(&request.to_srv_request(), operation).as_secs()
        };
        for (length, seconds) in [("0", 0), ("10", 10), ("131072", 12), ("4294967296", 14), ("-1", 0)] {
            assert_eq!((time(writes, length), time(&reads, length)), (seconds, 0), "{length}");
        }
        let chunked = TestRequest::default().insert_header((TRANSFER_ENCODING, "chunked"));
        assert_eq!(body_time(&chunked.to_srv_request(), writes).as_secs(), 14);
    }
}
