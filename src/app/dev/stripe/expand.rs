//! `expand[]`, and the lists that Stripe answers.

use serde_json::{Value, json};

use super::book::Book;
use super::form::Params;
use super::refusal::{Refusal, Told};

/// Replaces ids by the objects that they name, along each path: `latest_invoice.payments`, `data.customer`.
pub(super) fn expand(book: &Book, params: &Params, answer: &mut Value) {
    for path in params.texts("expand") {
        let steps: Vec<&str> = path.split('.').collect();
        walk(book, answer, &steps);
    }
}

fn walk(book: &Book, here: &mut Value, steps: &[&str]) {
    if let Value::Array(items) = here {
        items.iter_mut().for_each(|item| walk(book, item, steps));
        return;
    }
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    let includable = included(book, here, step);
    if let (Some(list), Some(object)) = (includable, here.as_object_mut()) {
        object.insert((*step).to_owned(), list);
    }
    let Some(next) = here.get_mut(*step) else { return };
    if let Some(known) = next.as_str().and_then(|id| book.get(id)) {
        *next = known.clone();
    }
    walk(book, next, rest);
}

/// Lists that an object carries only when they are asked for.
fn included(book: &Book, object: &Value, step: &str) -> Option<Value> {
    let id = object["id"].as_str()?;
    let (kind, field, url) = match (object["object"].as_str()?, step) {
        ("invoice", "payments") => (
            "invoice_payment",
            "invoice",
            format!("/v1/invoice_payments?invoice={id}"),
        ),
        ("customer", "subscriptions") => ("subscription", "customer", format!("/v1/customers/{id}/subscriptions")),
        ("customer", "tax_ids") => ("tax_id", "customer", format!("/v1/customers/{id}/tax_ids")),
        _ => return None,
    };
    let data: Vec<Value> = book.all(kind).filter(|o| o[field] == id).cloned().collect();
    Some(list(data, false, &url))
}

/// Stripe's list object.
pub(super) fn list(data: Vec<Value>, has_more: bool, url: &str) -> Value {
    json!({ "object": "list", "data": data, "has_more": has_more, "url": url })
}

/// Items of a list that an object carries; the rest is asked for at the list's own address.
const CARRIED: usize = 10;

/// Cuts the lists inside of an answer to what Stripe lets an object carry.
pub(super) fn shorten(answer: &mut Value) {
    let children: Vec<&mut Value> = match answer {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => return,
    };
    for child in children {
        if child["object"] == "list"
            && let Some(data) = child["data"].as_array_mut()
            && data.len() > CARRIED
        {
            data.truncate(CARRIED);
            child["has_more"] = json!(true);
        }
        shorten(child);
    }
}

/// One page of a list that belongs to an object, in the list's own order: `limit`, `starting_after`.
pub(super) fn part(whole: &Value, url: &str, params: &Params) -> Told<Value> {
    let all = whole["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let after = params
        .text("starting_after")
        .and_then(|last| all.iter().position(|item| item["id"] == last));
    let limit = params.integer("limit")?.unwrap_or(10).clamp(1, 100) as usize;
    let rest = &all[after.map_or(0, |at| at + 1)..];
    let page = rest.iter().take(limit).cloned().collect();
    Ok(list(page, rest.len() > limit, url))
}

/// One page of a kind, newest first: `limit`, `starting_after`, `ending_before`, `created[gte]` and its kin, and the
/// named equality filters.
pub(super) fn page(book: &Book, kind: &str, url: &str, params: &Params, filters: &[&str]) -> Told<Value> {
    let mut known = vec!["limit", "starting_after", "ending_before", "created"];
    known.extend(filters);
    params.only(&known)?;
    let limit = params.integer("limit")?.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(Refusal::invalid("limit", "This value must be between 1 and 100."));
    }
    // Cancelled subscriptions are listed only to those who ask for a status.
    let hidden = |o: &Value| kind == "subscription" && !params.has("status") && o["status"] == "canceled";
    let wanted = |o: &&Value| !hidden(o) && matches(o, params, filters);
    let mut found: Vec<&Value> = book.all(kind).rev().filter(wanted).collect();
    if let Some(last) = params.text("starting_after") {
        let at = found.iter().position(|o| o["id"] == last);
        let at = at.ok_or_else(|| Refusal::no_such(kind, last, "starting_after"))?;
        found.drain(..=at);
    }
    if let Some(first) = params.text("ending_before") {
        let at = found.iter().position(|o| o["id"] == first);
        found.truncate(at.ok_or_else(|| Refusal::no_such(kind, first, "ending_before"))?);
        let surplus = found.len().saturating_sub(limit as usize);
        found.drain(..surplus);
    }
    let has_more = found.len() > limit as usize;
    Ok(list(
        found.into_iter().take(limit as usize).cloned().collect(),
        has_more,
        url,
    ))
}

fn matches(object: &Value, params: &Params, filters: &[&str]) -> bool {
    let equal = filters.iter().all(|name| match params.text(name) {
        None | Some("all") => true,
        Some(wanted) => match &object[*name] {
            Value::Bool(flag) => wanted == flag.to_string(),
            Value::String(text) => wanted == text,
            _ => false,
        },
    });
    let keys = params.texts("lookup_keys");
    let keyed = keys.is_empty() || keys.iter().any(|key| object["lookup_key"] == key.as_str());
    let created = object["created"].as_i64().unwrap_or_default();
    let bound = |name: &str| params.under("created").and_then(|p| p.integer(name).ok().flatten());
    equal
        && keyed
        && bound("gte").is_none_or(|t| created >= t)
        && bound("gt").is_none_or(|t| created > t)
        && bound("lte").is_none_or(|t| created <= t)
        && bound("lt").is_none_or(|t| created < t)
}
