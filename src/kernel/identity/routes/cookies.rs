//! Tokens that travel in cookies: scripts cannot read them, and other sites cannot send them.

use actix_web::{HttpRequest, HttpResponse, Responder, body::BoxBody, http::header::SET_COOKIE};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::kernel::{
    crypto,
    http::front::{ACCESS_COOKIE, cookie},
    identity::{model::SessionRow, service::Desk},
    secret::Secret,
};

/// The cookie that holds a browser's refresh token. It goes where sessions are renewed and ended: a browser whose access token has expired
/// must be able to sign out.
pub const REFRESH_COOKIE: &str = "__Secure-gld_rt";
/// The cookie that tells a device again.
const DEVICE_COOKIE: &str = "__Host-gld_dv";

/// Where the refresh cookie goes.
const REFRESH_PATH: &str = "/api/v1/auth";
/// A device is told again for a year.
const YEAR: i64 = 365 * 86_400;

/// An answer with cookies.
pub struct WithCookies<T> {
    /// The body; `None`: 204.
    pub body: Option<T>,
    /// What the browser is to keep, as `Set-Cookie`.
    pub cookies: Vec<String>,
}

impl<T: Serialize> Responder for WithCookies<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = match self.body {
            Some(_) => HttpResponse::Ok(),
            None => HttpResponse::NoContent(),
        };
        for cookie in self.cookies {
            response.append_header((SET_COOKIE, cookie));
        }
        match self.body {
            Some(body) => response.json(body),
            None => response.finish(),
        }
    }
}

/// The cookies of a session.
pub fn tokens(
    desk: &Desk,
    session: &SessionRow,
    access: &Secret<String>,
    refresh: &str,
    now: DateTime<Utc>,
) -> Vec<String> {
    let life = match session.remember {
        true => format!("; Max-Age={}", (session.ends_at() - now).num_seconds().max(0)),
        // Forgotten with the browser, as whoever did not want to be remembered expects.
        false => String::new(),
    };
    vec![
        format!(
            "{ACCESS_COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}",
            access.expose(),
            desk.auth.access_token_seconds
        ),
        format!("{REFRESH_COOKIE}={refresh}; Path={REFRESH_PATH}; Secure; HttpOnly; SameSite=Strict{life}"),
    ]
}

/// A token for a device that has none.
pub fn new_device() -> Secret<String> {
    Secret::new(hex::encode(crypto::random::<16>()))
}

/// The token of the device that asks: what we gave it, and nothing else that somebody may have put there.
pub fn device_of(request: &HttpRequest) -> Option<Secret<String>> {
    read(request, DEVICE_COOKIE).filter(|token| hex::decode(token.expose()).is_ok_and(|bytes| bytes.len() == 16))
}

/// The cookie of a device.
pub fn device(token: &Secret<String>) -> String {
    format!(
        "{DEVICE_COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={YEAR}",
        token.expose()
    )
}

/// What makes a browser forget its session.
pub fn none() -> Vec<String> {
    vec![
        format!("{ACCESS_COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
        format!("{REFRESH_COOKIE}=; Path={REFRESH_PATH}; Secure; HttpOnly; SameSite=Strict; Max-Age=0"),
    ]
}

/// The value of a cookie of ours; an empty one is none.
pub fn read(request: &HttpRequest, name: &str) -> Option<Secret<String>> {
    cookie(request.headers(), name)
        .filter(|value| !value.is_empty())
        .map(Secret::new)
}
