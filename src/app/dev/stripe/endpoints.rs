//! Webhook endpoints and the signature that their deliveries carry.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::API_VERSION;
use super::book::Book;
use super::form::Params;
use super::refusal::Told;

pub(super) fn create(book: &mut Book, params: &Params) -> Told<Value> {
    params.only(&[
        "url",
        "enabled_events",
        "api_version",
        "description",
        "metadata",
        "connect",
    ])?;
    let id = book.id("we");
    let secret = format!("whsec_{}", book.id("s").replace('_', ""));
    let endpoint = json!({ "id": id, "object": "webhook_endpoint",
        "api_version": params.text("api_version").unwrap_or(API_VERSION), "application": null, "created": book.now,
        "description": params.text("description"), "enabled_events": params.texts("enabled_events"),
        "livemode": false, "metadata": {}, "status": "enabled", "url": params.require("url")? });
    register(book, endpoint.clone(), secret.clone());
    let mut answer = endpoint;
    answer["secret"] = json!(secret);
    Ok(answer)
}

/// Registers an endpoint whose secret is already known to the receiver.
pub(super) fn register(book: &mut Book, endpoint: Value, secret: String) {
    let id = endpoint["id"].as_str().unwrap_or_default().to_owned();
    book.insert("webhook_endpoint", endpoint);
    book.secrets.insert(id, vec![secret]);
}

pub(super) fn update(book: &mut Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&["url", "enabled_events", "disabled", "description", "metadata"])?;
    book.find("webhook_endpoint", id, "id")?;
    let disabled = params.flag("disabled")?;
    Ok(book.change(id, |endpoint| {
        params.copy(&["url", "description"], endpoint);
        if params.has("enabled_events") {
            endpoint["enabled_events"] = json!(params.texts("enabled_events"));
        }
        if let Some(disabled) = disabled {
            endpoint["status"] = json!(if disabled { "disabled" } else { "enabled" });
        }
    }))
}

pub(super) fn delete(book: &mut Book, id: &str) -> Told<Value> {
    book.find("webhook_endpoint", id, "id")?;
    let gone = json!({ "id": id, "object": "webhook_endpoint", "deleted": true });
    book.change(id, |endpoint| *endpoint = gone.clone());
    book.deliveries.retain(|d| d.endpoint != id);
    Ok(gone)
}

/// Gives an endpoint a new secret; the old one signs beside it until it is dropped.
pub(super) fn roll(book: &mut Book, id: &str, secret: Option<String>) -> Told<String> {
    book.find("webhook_endpoint", id, "id")?;
    let fresh = secret.unwrap_or_else(|| format!("whsec_{}", book.id("s").replace('_', "")));
    let secrets = book.secrets.entry(id.to_owned()).or_default();
    secrets.insert(0, fresh.clone());
    secrets.truncate(2);
    Ok(fresh)
}

/// The `Stripe-Signature` of a payload at a second: one `v1` for each live secret.
pub(super) fn signature(secrets: &[String], at: i64, payload: &[u8]) -> String {
    let mut header = format!("t={at}");
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{at}.").as_bytes());
        context.update(payload);
        header.push_str(&format!(",v1={}", hex::encode(context.sign())));
    }
    header
}
