//! What a request shows of who sends it.

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};

use crate::kernel::{
    access::Credential,
    error::Problem,
    http::headers::{self, names},
    secret::Secret,
};

/// The cookie that holds a browser's access token.
pub const ACCESS_COOKIE: &str = "__Host-gld_at";

/// The one credential of a request.
pub(super) fn credential(headers: &HeaderMap) -> Credential {
    let mut found = Vec::new();
    for value in headers.get_all(&AUTHORIZATION) {
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')) else {
            found.push(Credential::Token(Secret::new(String::new())));
            continue;
        };
        let token = token.trim().to_owned();
        found.push(if scheme.eq_ignore_ascii_case("license") {
            Credential::License(Secret::new(token))
        } else if scheme.eq_ignore_ascii_case("bearer") && token.starts_with("gld_") {
            Credential::Key(Secret::new(token))
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Credential::Token(Secret::new(token))
        } else {
            Credential::Token(Secret::new(String::new()))
        });
    }
    for value in headers.get_all(&names::API_KEY) {
        let key = value.to_str().unwrap_or_default().trim().to_owned();
        found.push(Credential::Key(Secret::new(key)));
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

/// True if the browser sent the credential unasked.
pub(super) fn is_ambient(headers: &HeaderMap) -> bool {
    cookie(headers, ACCESS_COOKIE).is_some()
}

/// The value of a cookie.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(&COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
}

/// The workspace that the request names, as it was written.
///
/// # Errors
/// As [`headers::once`].
pub(super) fn workspace(request: &HeaderMap) -> Result<Option<&str>, Problem> {
    let named = headers::once(request, &names::WORKSPACE, "header/Guildhall-Workspace")?;
    Ok(named.map(|named| named.to_str().unwrap_or_default().trim()))
}
