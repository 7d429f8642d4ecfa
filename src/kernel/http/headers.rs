//! Headers: those that callers may send, those that every answer has, and what they say about where a request came from.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::kernel::error::{FieldCode, INVALID_HEADER, Problem};

/// The date of the newest API version.
pub const API_VERSION: &str = "2026-11-01";

/// Headers that the API reads, for pages of other origins: what a preflight allows.
pub const READ: &[&str] = &[
    "Accept",
    "Authorization",
    "Content-Type",
    "Guildhall-Version",
    "Guildhall-Workspace",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Api-Key",
    "X-Request-Id",
    "traceparent",
    "tracestate",
];

/// Headers of answers that such pages may read.
pub const EXPOSED: &[&str] = &[
    "Deprecation",
    "ETag",
    "Guildhall-Version",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
];

/// What every answer has unless it says otherwise.
static ALWAYS: [(HeaderName, HeaderValue); 7] = [
    always("guildhall-version", API_VERSION),
    always("cache-control", "no-store"),
    always("strict-transport-security", "max-age=63072000; includeSubDomains"),
    always("x-content-type-options", "nosniff"),
    always("referrer-policy", "no-referrer"),
    always("cross-origin-resource-policy", "same-origin"),
    always("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

const fn always(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// The names that every request is asked for, ready to be looked up.
pub(in crate::kernel) mod names {
    use super::HeaderName;

    pub(in crate::kernel) static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
    pub(in crate::kernel) static VERSION: HeaderName = HeaderName::from_static("guildhall-version");
    pub(in crate::kernel) static WORKSPACE: HeaderName = HeaderName::from_static("guildhall-workspace");
    pub(in crate::kernel) static TRACE: HeaderName = HeaderName::from_static("traceparent");
    pub(in crate::kernel) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    pub(in crate::kernel) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
}

/// Dresses an answer: its own headers stay as they are. Those are few, so they are looked through instead of asking for each of ours, and what
/// is not there is appended, which looks it up once.
pub(in crate::kernel) fn dress(headers: &mut HeaderMap, request_id: &str) {
    let mut missing = [true; ALWAYS.len()];
    let mut is_named = false;
    for own in headers.keys() {
        is_named |= *own == names::REQUEST_ID;
        for (missing, (name, _)) in missing.iter_mut().zip(&ALWAYS) {
            *missing &= own != name;
        }
    }
    // With the limits' and the origin's: one growth of the map instead of four.
    headers.reserve(ALWAYS.len() + 8);
    for ((name, value), _) in ALWAYS.iter().zip(missing).filter(|(_, missing)| *missing) {
        headers.append(name.clone(), value.clone());
    }
    if let (false, Ok(id)) = (is_named, HeaderValue::from_str(request_id)) {
        headers.append(names::REQUEST_ID.clone(), id);
    }
}

/// A header that there may be one of.
///
/// # Errors
/// 400 `invalid-header` if there are two, even twice the same: whoever stands before us may read the other. `pointer` says where.
pub(in crate::kernel) fn once<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    pointer: &str,
) -> Result<Option<&'h HeaderValue>, Problem> {
    let mut all = headers.get_all(name);
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Problem::from(INVALID_HEADER).field(pointer, FieldCode::TooMany, "Send it once.")),
    }
}

/// The request's id, if a trusted proxy gave it one that can stand in every log.
pub(in crate::kernel) fn request_id(headers: &HeaderMap, trusted: bool) -> Option<&str> {
    let given = headers.get(&names::REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (trusted && (8..=128).contains(&given.len()) && given.bytes().all(plain)).then_some(given)
}

/// Whose word about the caller is taken.
pub(in crate::kernel) fn is_trusted(peer: Option<IpAddr>, proxies: &[IpNet]) -> bool {
    peer.is_some_and(|peer| proxies.iter().any(|network| network.contains(&peer.to_canonical())))
}

/// Where a request came from: the peer, unless it is a trusted proxy; then the right-most hop that is none. A hop that cannot be read
/// ends the search at the proxy that reported it. So do two headers that contradict each other: whichever the proxy did not write came
/// from the caller.
pub(in crate::kernel) fn client(headers: &HeaderMap, peer: Option<IpAddr>, proxies: &[IpNet]) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.to_canonical());
    if !is_trusted(peer, proxies) {
        return peer;
    }
    let told = [
        hops(headers, &FORWARDED, forwarded),
        hops(headers, &names::FORWARDED_FOR, |hop| Some(hop)),
    ];
    let mut found = told.iter().flatten().map(|hops| stranger(hops, proxies).or(peer));
    match (found.next(), found.next()) {
        (Some(one), None) => one,
        (Some(one), Some(other)) if one == other => one,
        (None | Some(_), None | Some(_)) => peer,
    }
}

/// The hops of a header in all its lines, as their addresses; `None` where one cannot be read.
fn hops(headers: &HeaderMap, name: &HeaderName, read: fn(&str) -> Option<&str>) -> Option<Vec<Option<IpAddr>>> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .map(|value| value.to_str().unwrap_or("?"))
        .collect();
    if lines.is_empty() {
        return None;
    }
    let all = lines.iter().flat_map(|line| line.split(','));
    Some(all.map(|hop| read(hop.trim()).and_then(address)).collect())
}

/// The right-most address that is no proxy of ours, or the left-most if all are.
fn stranger(hops: &[Option<IpAddr>], proxies: &[IpNet]) -> Option<IpAddr> {
    let mut last = None;
    for hop in hops.iter().rev() {
        let hop = (*hop)?;
        last = Some(hop);
        if !is_trusted(last, proxies) {
            break;
        }
    }
    last
}

/// The `for` of one element of a `Forwarded` header.
fn forwarded(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim_matches('"'))
    })
}

/// An address with or without a port, in or out of brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let parsed = bare
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|found| found.ip()));
    parsed.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        headers
    }

    fn seen(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().expect("a network"));
        let found = client(&headers(lines), Some(peer.parse().expect("an address")), &proxies);
        found.expect("there is a peer").to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        for lines in [
            &[("x-forwarded-for", "1.2.3.4")][..],
            &[("forwarded", "for=1.2.3.4")],
            &[("x-forwarded-for", "10.0.0.1")],
        ] {
            assert_eq!(seen("203.0.113.7", lines), "203.0.113.7");
        }
        assert_eq!(seen("::ffff:203.0.113.7", &[]), "203.0.113.7");
    }

    #[test]
    fn behind_a_proxy_the_right_most_stranger_is_the_caller() {
        for (value, caller) in [
            ("203.0.113.7", "203.0.113.7"),
            ("1.2.3.4, 203.0.113.7", "203.0.113.7"),
            ("1.2.3.4, 203.0.113.7, 10.2.3.4", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8:2::1]:4711", "2001:db8:2::1"),
            ("2001:db8:2::1, 2001:db8:1::1", "2001:db8:2::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("10.9.9.9, 10.2.3.4", "10.9.9.9"),
        ] {
            assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", value)]), caller, "{value}");
            assert_eq!(
                seen("::ffff:10.0.0.1", &[("x-forwarded-for", value)]),
                caller,
                "{value}"
            );
        }
        let two_lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(seen("10.0.0.1", &two_lines), "203.0.113.7");
    }

    #[test]
    fn the_standard_header_says_the_same() {
        for (value, caller) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=\"203.0.113.7:80\";proto=https;by=10.0.0.1", "203.0.113.7"),
            ("for=1.2.3.4, for=\"[2001:db8:2::17]:4711\"", "2001:db8:2::17"),
            ("proto=https; for=\"[2001:db8:2::17]\"", "2001:db8:2::17"),
        ] {
            assert_eq!(seen("10.0.0.1", &[("forwarded", value)]), caller, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_at_the_proxy_that_reported_it() {
        for (name, value) in [
            ("x-forwarded-for", "unknown"),
            ("x-forwarded-for", ""),
            ("x-forwarded-for", "1.2.3.4, garbage"),
            ("x-forwarded-for", "1.2.3.4, garbage, 10.2.3.4"),
            ("forwarded", "for=_hidden"),
            ("forwarded", "proto=https"),
            ("forwarded", "for=1.2.3.4, for=unknown"),
        ] {
            assert_eq!(seen("10.0.0.1", &[(name, value)]), "10.0.0.1", "{value}");
        }
    }

    #[test]
    fn headers_that_contradict_each_other_are_not_believed() {
        let same = [("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(seen("10.0.0.1", &same), "203.0.113.7");
        let smuggled = [("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(seen("10.0.0.1", &smuggled), "10.0.0.1");
    }

    #[test]
    fn only_a_trusted_proxy_names_requests_and_only_plainly() {
        let given = |value: &str, trusted| request_id(&headers(&[("x-request-id", value)]), trusted).map(str::to_owned);
        assert_eq!(given("edge-7f3a.2_x", true).as_deref(), Some("edge-7f3a.2_x"));
        assert_eq!(given("edge-7f3a.2_x", false), None);
        for value in [
            "short",
            "with space",
            "inj\u{65}ct\"ion",
            &"x".repeat(129),
            "emoji-\u{7f}-x",
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                let text = value.to_str().unwrap_or_default().to_owned();
                assert_eq!(given(&text, true), None, "{text}");
            }
        }
    }

    #[test]
    fn an_answer_keeps_what_it_says_itself() {
        let mut answer = headers(&[("cache-control", "private, no-cache")]);
        dress(&mut answer, "req_1");
        assert_eq!(
            answer.get("cache-control").map(HeaderValue::as_bytes),
            Some(&b"private, no-cache"[..])
        );
        for name in [
            "x-request-id",
            "guildhall-version",
            "strict-transport-security",
            "x-content-type-options",
            "referrer-policy",
            "cross-origin-resource-policy",
            "content-security-policy",
        ] {
            assert!(answer.contains_key(name), "{name}");
        }
        assert!(!answer.contains_key("server"));
    }
}
