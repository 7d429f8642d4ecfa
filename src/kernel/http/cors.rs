//! Pages of other origins: which may call with cookies, which may call at all, and what their browsers are told.

use std::collections::HashSet;

use actix_web::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY};
use anyhow::{Result, ensure};
use url::Url;

use super::{
    headers::{EXPOSED, READ},
    operations::{Operation, RateClass},
};
use crate::kernel::error::{CSRF_FAILED, Problem};

/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: &str = "7200";

/// What the answer to anybody depends on …
const BY_ORIGIN: &str = "Origin";
/// … and the answer to one caller: `/workspace` is one address for as many things as there are workspaces, and versions of two may be alike.
const BY_CALLER: &str = "Origin, Authorization, X-Api-Key, Cookie, Guildhall-Workspace";

/// The origins whose pages may send cookies: exactly these, compared as they are written.
#[derive(Clone, Debug)]
pub struct Origins(HashSet<String>);

impl Origins {
    /// The configured origins and our own.
    ///
    /// # Errors
    /// An entry of `cors.origins` that is not `scheme://host[:port]`.
    pub fn new(configured: &[String], public_url: &str) -> Result<Origins> {
        let own = Url::parse(public_url)?.origin().ascii_serialization();
        let mut origins = HashSet::from([own]);
        for origin in configured {
            let read = Url::parse(origin).map(|url| url.origin().ascii_serialization());
            ensure!(
                read.as_deref() == Ok(origin.as_str()) && origin != "null",
                "configuration key cors.origins: {origin:?} is not an origin such as https://app.example.com"
            );
            origins.insert(origin.clone());
        }
        Ok(Origins(origins))
    }

    /// True for one of them.
    pub fn contains(&self, origin: &str) -> bool {
        self.0.contains(origin)
    }
}

/// True for what needs neither cookie nor secret page: anybody's page may read it.
fn is_open(operation: &Operation) -> bool {
    operation.rate == RateClass::Public || (operation.public && operation.reads && !operation.id.starts_with("auth_"))
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(&ORIGIN).map(|value| value.to_str().unwrap_or_default())
}

/// What the caller's page may do with the answer: `None`, nothing.
fn grant(origins: &Origins, asked: &str, operation: &Operation) -> Option<(HeaderValue, bool)> {
    if origins.contains(asked) {
        return HeaderValue::from_str(asked).ok().map(|origin| (origin, true));
    }
    is_open(operation).then_some((HeaderValue::from_static("*"), false))
}

/// Tells the browser whether the page that asked may read the answer, and whose question it answers if it is kept.
pub(in crate::kernel) fn dress(origins: &Origins, request: &HeaderMap, operation: &Operation, answer: &mut HeaderMap) {
    let varies = if operation.public { BY_ORIGIN } else { BY_CALLER };
    answer.append(VARY, HeaderValue::from_static(varies));
    let Some((allowed, with_cookies)) = origin(request).and_then(|asked| grant(origins, asked, operation)) else {
        return;
    };
    set(answer, "access-control-allow-origin", allowed);
    set(answer, "access-control-expose-headers", list(EXPOSED));
    if with_cookies {
        set(
            answer,
            "access-control-allow-credentials",
            HeaderValue::from_static("true"),
        );
    }
    // Its page may read it, so it may also load it.
    set(
        answer,
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
}

/// The method that a preflight asks about: a request is one if it says so in all its parts.
pub(in crate::kernel) fn asked_method<'h>(method: &str, headers: &'h HeaderMap) -> Option<&'h str> {
    if method != "OPTIONS" {
        return None;
    }
    let asked = headers.get(&ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?;
    headers.contains_key(&ORIGIN).then_some(asked)
}

/// The headers of the answer to a preflight. To a page that may not call it says nothing, and so its browser does not.
pub(in crate::kernel) fn preflight(
    origins: &Origins,
    request: &HeaderMap,
    operation: &Operation,
    methods: &str,
) -> HeaderMap {
    let mut answer = HeaderMap::new();
    let varies = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    add(&mut answer, "vary", HeaderValue::from_static(varies));
    if let Some((allowed, with_cookies)) = origin(request).and_then(|asked| grant(origins, asked, operation)) {
        set(&mut answer, "access-control-allow-origin", allowed);
        if with_cookies {
            set(
                &mut answer,
                "access-control-allow-credentials",
                HeaderValue::from_static("true"),
            );
        }
        if let Ok(methods) = HeaderValue::from_str(methods) {
            set(&mut answer, "access-control-allow-methods", methods);
        }
        set(&mut answer, "access-control-allow-headers", list(READ));
        set(&mut answer, "access-control-max-age", HeaderValue::from_static(MAX_AGE));
    }
    answer
}

/// Whether a request whose credential is a cookie was meant by the person and not by somebody's page: browsers send cookies unasked.
///
/// # Errors
/// 403 `csrf-failed`.
pub(in crate::kernel) fn expect_own_page(origins: &Origins, request: &HeaderMap) -> Result<(), Problem> {
    let meant = match origin(request) {
        Some(origin) => origins.contains(origin),
        None => request
            .get("sec-fetch-site")
            .is_some_and(|site| site.as_bytes() == b"same-origin"),
    };
    if meant { Ok(()) } else { Err(CSRF_FAILED.into()) }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    headers.insert(HeaderName::from_static(name), value);
}

fn add(headers: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    headers.append(HeaderName::from_static(name), value);
}

fn list(names: &[&str]) -> HeaderValue {
    HeaderValue::from_str(&names.join(", ")).expect("header names are printable")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::access::Class;

    const APP: &str = "https://app.example.com";

    fn origins() -> Origins {
        Origins::new(&[APP.to_owned()], "https://api.example.com/").expect("readable")
    }

    fn operation(id: &'static str, rate: RateClass, public: bool, reads: bool) -> Operation {
        Operation {
            id,
            template: "/things",
            resource: "",
            permission: None,
            rate,
            admission: Class::Interactive,
            public,
            reads,
            placed: false,
            fresh: false,
            queries: false,
            waits: false,
            exports: false,
            works_unpaid: false,
            works_suspended: false,
            body_limit: 1_000,
            meters: super::super::operations::Meters::of(id),
        }
    }

    fn private() -> Operation {
        operation("agents_create", RateClass::Write, false, false)
    }

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        set(&mut headers, "origin", HeaderValue::from_str(origin).expect("a value"));
        headers
    }

    fn told(request: &HeaderMap, operation: &Operation) -> (Option<String>, bool) {
        let mut answer = HeaderMap::new();
        dress(&origins(), request, operation, &mut answer);
        let varies = if operation.public { BY_ORIGIN } else { BY_CALLER };
        assert!(
            answer.get_all("vary").any(|value| value == varies),
            "caches must tell origins and callers apart"
        );
        let allowed = answer
            .get("access-control-allow-origin")
            .map(|value| value.to_str().expect("text").to_owned());
        (allowed, answer.contains_key("access-control-allow-credentials"))
    }

    const TRICKS: &[&str] = &[
        "null",
        "",
        "*",
        "https://app.example.com.evil.io",
        "https://evil.io/https://app.example.com",
        "https://evilapp.example.com",
        "https://sub.app.example.com",
        "https://app.example.com:444",
        "https://app.example.com/",
        "http://app.example.com",
        "HTTPS://APP.EXAMPLE.COM",
        "https://app.example.com, https://evil.io",
        "https://app.example.com https://evil.io",
        "https://app.example.com@evil.io",
        "https://app-example.com",
        "https://app.example.co",
        "file://",
        "chrome-extension://abc",
    ];

    #[test]
    fn only_an_exact_origin_may_send_cookies() {
        for own in [APP, "https://api.example.com"] {
            assert_eq!(told(&from(own), &private()), (Some(own.to_owned()), true));
        }
        for trick in TRICKS {
            assert_eq!(told(&from(trick), &private()), (None, false), "{trick}");
        }
        assert_eq!(told(&HeaderMap::new(), &private()), (None, false));
    }

    #[test]
    fn what_is_public_is_open_to_every_page_without_cookies() {
        let licences = operation("licenses_validate_key", RateClass::Public, true, false);
        let documents = operation("documents_openapi", RateClass::Anonymous, true, true);
        for open in [licences, documents] {
            assert_eq!(told(&from("https://evil.io"), &open), (Some("*".to_owned()), false));
            assert_eq!(told(&from("null"), &open), (Some("*".to_owned()), false));
            assert_eq!(told(&from(APP), &open), (Some(APP.to_owned()), true));
        }
        let login = operation("auth_login", RateClass::Anonymous, true, false);
        let session = operation("auth_session", RateClass::Anonymous, true, true);
        for closed in [login, session] {
            assert_eq!(told(&from("https://evil.io"), &closed), (None, false), "{}", closed.id);
        }
    }

    #[test]
    fn a_preflight_allows_every_documented_header() {
        let mut request = from(APP);
        set(
            &mut request,
            "access-control-request-method",
            HeaderValue::from_static("POST"),
        );
        assert_eq!(asked_method("OPTIONS", &request), Some("POST"));
        assert_eq!(asked_method("GET", &request), None);
        let answer = preflight(&origins(), &request, &private(), "GET, POST");
        let allowed = answer
            .get("access-control-allow-headers")
            .and_then(|value| value.to_str().ok())
            .expect("told");
        let allowed: HashSet<String> = allowed.split(", ").map(str::to_ascii_lowercase).collect();
        for header in READ {
            assert!(allowed.contains(&header.to_ascii_lowercase()), "{header}");
        }
        assert_eq!(
            answer.get("access-control-max-age").map(HeaderValue::as_bytes),
            Some(&b"7200"[..])
        );
        for trick in TRICKS {
            let answer = preflight(&origins(), &from(trick), &private(), "GET, POST");
            assert_eq!(answer.keys().count(), 1, "{trick}: nothing but Vary");
        }
    }

    #[test]
    fn a_cookie_is_a_credential_only_from_an_own_page() {
        let judged = |headers: &[(&'static str, &str)]| {
            let mut request = HeaderMap::new();
            for (name, value) in headers {
                set(&mut request, name, HeaderValue::from_str(value).expect("a value"));
            }
            expect_own_page(&origins(), &request).is_ok()
        };
        assert!(judged(&[("origin", APP)]));
        assert!(judged(&[("sec-fetch-site", "same-origin")]));
        assert!(!judged(&[]));
        for site in ["same-site", "cross-site", "none", ""] {
            assert!(!judged(&[("sec-fetch-site", site)]), "{site}");
        }
        for trick in TRICKS {
            assert!(
                !judged(&[("origin", trick), ("sec-fetch-site", "same-origin")]),
                "{trick}"
            );
        }
    }

    #[test]
    fn an_entry_that_is_no_origin_names_its_key() {
        for entry in [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "https://*.example.com/x",
        ] {
            let refused = Origins::new(&[entry.to_owned()], "https://api.example.com").err();
            assert!(
                refused.is_some_and(|error| error.to_string().contains("cors.origins")),
                "{entry}"
            );
        }
    }
}
