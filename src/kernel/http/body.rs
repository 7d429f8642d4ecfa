//! Reading a body: within its size, in time, uncompressed.

use std::time::{Duration, Instant};

use actix_web::{
    HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    web::BytesMut,
};
use futures_util::StreamExt;

use super::front::LetIn;
use crate::kernel::{
    error::{BODY_TOO_LARGE, Error, Problem, REQUEST_TIMEOUT, Result, UNSUPPORTED_MEDIA_TYPE},
    metrics,
};

/// A body without a limit of its own.
pub(in crate::kernel) const DEFAULT_LIMIT: usize = 256 * 1_024;

/// A sender that is silent for longer is sent away.
const SILENCE: Duration = Duration::from_secs(3);
/// A request whose body takes longer does not keep its place meanwhile: slow senders must not fill the room.
const PROMPT: Duration = Duration::from_millis(100);

/// Reads the whole body: at most `limit` bytes, within 10 s and a second for every 64 KiB, never silent for 3 s. A request that is slow
/// to send it leaves its place and needs a new one when all is there.
///
/// # Errors
/// 413 `body-too-large`, 408 `request-timeout` (the connection closes), 415 for a compressed one; 503 `overloaded` after a slow one.
pub(in crate::kernel) async fn read(request: &HttpRequest, payload: &mut Payload, limit: usize) -> Result<BytesMut> {
    let place = request
        .extensions()
        .get::<LetIn>()
        .and_then(|let_in| let_in.caller.call.place.clone());
    let Some(place) = place else {
        return read_all(request, payload, limit, |_| ()).await;
    };
    let mut reading = std::pin::pin!(read_all(request, payload, limit, |bytes| place.read(bytes)));
    if let Ok(body) = tokio::time::timeout(PROMPT, &mut reading).await {
        return body;
    }
    place.leave();
    let body = reading.await?;
    place.come_back()?;
    Ok(body)
}

/// `note` is told how long each part of it is.
async fn read_all(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
    note: impl Fn(usize),
) -> Result<BytesMut> {
    if request
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|value| value.as_bytes() != b"identity")
    {
        return Err(UNSUPPORTED_MEDIA_TYPE
            .because("Send the body without Content-Encoding.")
            .into());
    }
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let started = Instant::now();
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(limit));
    loop {
        let allowed = Duration::from_secs(10 + body.len() as u64 / 65_536);
        let left = allowed.saturating_sub(started.elapsed()).min(SILENCE);
        let chunk = tokio::time::timeout(left, payload.next()).await.map_err(|_| {
            metrics::HTTP_SLOW_BODIES.inc();
            Problem::from(REQUEST_TIMEOUT).header("connection", "close")
        })?;
        if let Some(Ok(bytes)) = &chunk {
            note(bytes.len());
        }
        match chunk {
            None => return Ok(body),
            Some(Err(_)) => {
                return Err(REQUEST_TIMEOUT
                    .because("The body broke off.")
                    .header("connection", "close")
                    .into());
            }
            Some(Ok(bytes)) if body.len() + bytes.len() > limit => return Err(too_large(limit)),
            Some(Ok(bytes)) => body.extend_from_slice(&bytes),
        }
    }
}

/// Whether the body is declared as JSON in UTF-8.
///
/// # Errors
/// 415 `unsupported-media-type`.
pub(in crate::kernel) fn expect_json(request: &HttpRequest) -> Result<()> {
    let declared = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = declared.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media = parts.next().unwrap_or_default();
    let utf8 = parts.all(|part| !part.starts_with("charset=") || matches!(&part[8..], "utf-8" | "\"utf-8\"" | "utf8"));
    let json = matches!(media.as_str(), "application/json" | "application/merge-patch+json");
    if json && utf8 {
        Ok(())
    } else {
        Err(UNSUPPORTED_MEDIA_TYPE
            .because("Send Content-Type: application/json.")
            .into())
    }
}

fn too_large(limit: usize) -> Error {
    BODY_TOO_LARGE
        .because(format!("At most {limit} bytes."))
        .with("limit_bytes", limit)
        .header("connection", "close")
        .into()
}
