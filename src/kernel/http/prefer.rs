//! `Prefer` (RFC 7240): what a caller would like, and nobody has to do.

use actix_web::http::header::HeaderMap;

/// Nobody waits longer, in seconds.
pub const LONGEST: u64 = 60;

/// The seconds of `wait`, if the header has it and it can be read. A preference that nobody understands is none: it is no mistake.
pub fn wait(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all("prefer")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn of(values: &[&'static str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static("prefer"), HeaderValue::from_static(value));
        }
        wait(&headers)
    }

    #[test]
    fn the_wait_is_found_wherever_it_stands() {
        for values in [
            &["wait=7"][..],
            &["Wait = 7"],
            &["wait=\"7\""],
            &["respond-async, wait=7"],
            &["handling=lenient; wait=9, wait=7; because=we-can"],
            &["return=minimal", "wait=7, wait=8"],
        ] {
            assert_eq!(of(values), Some(7), "{values:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_preference() {
        for values in [
            &[][..],
            &[""],
            &["wait"],
            &["wait="],
            &["wait=soon"],
            &["wait=-1"],
            &["waiting=7"],
            &["respond-async"],
        ] {
            assert_eq!(of(values), None, "{values:?}");
        }
    }
}
