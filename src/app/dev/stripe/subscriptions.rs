//! Subscriptions: made, changed, cancelled.

use serde_json::{Value, json};

use super::book::{Book, with_empty};
use super::catalog::{cost, plan};
use super::expand::list;
use super::form::Params;
use super::payments::Outcome;
use super::refusal::{Refusal, Told};
use super::{calendar, invoices, proration};

const EMPTY: [&str; 19] = [
    "application",
    "application_fee_percent",
    "billing_cycle_anchor_config",
    "billing_thresholds",
    "cancel_at",
    "canceled_at",
    "days_until_due",
    "default_source",
    "ended_at",
    "items",
    "latest_invoice",
    "next_pending_invoice_item_invoice",
    "on_behalf_of",
    "pause_collection",
    "pending_invoice_item_interval",
    "pending_setup_intent",
    "pending_update",
    "schedule",
    "transfer_data",
];

/// `POST /subscriptions`. Without a trial the first invoice is finalised and collected at once, unless it is to be sent.
pub(super) fn create(book: &mut Book, params: &Params) -> Told<Value> {
    params.only(&[
        "customer",
        "items",
        "trial_period_days",
        "trial_end",
        "payment_behavior",
        "default_payment_method",
        "metadata",
        "collection_method",
        "days_until_due",
        "cancel_at_period_end",
        "off_session",
        "proration_behavior",
        "description",
        "payment_settings",
        "trial_settings",
    ])?;
    let customer = super::customers::live(book, params.require("customer")?)?;
    let id = book.id("sub");
    let items = params
        .groups("items")
        .iter()
        .map(|p| new_item(book, &id, p))
        .collect::<Told<Vec<Value>>>()?;
    let first = items
        .first()
        .ok_or_else(|| Refusal::missing_parameter("items"))?
        .clone();
    let trial_end = match params.integer("trial_period_days")? {
        Some(days) if days > 0 => Some(book.now + days * 86_400),
        _ => params.integer("trial_end")?,
    };
    let subscription = shell(book, &id, &customer, &first, trial_end, params)?;
    book.insert("subscription", subscription);
    book.change(&id, |s| {
        s["items"] = list(items, false, &format!("/v1/subscription_items?subscription={id}"))
    });
    set_periods(book, &id, book.now, trial_end);
    book.emit("customer.subscription.created", &id);
    let lines = cycle_lines(book, &id, trial_end.is_some());
    let invoice = invoices::draft(book, &id, "subscription_create", lines);
    if book.copy(&id)["collection_method"] == "send_invoice" {
        return Ok(book.copy(&id));
    }
    invoices::finalize(book, &invoice);
    if params.text("payment_behavior") != Some("default_incomplete") {
        let outcome = invoices::collect(book, &invoice);
        let refuse = params.text("payment_behavior") == Some("error_if_incomplete");
        if refuse && outcome != Outcome::Paid {
            return Err(Refusal::declined("generic_decline", Value::Null));
        }
    }
    Ok(book.copy(&id))
}

fn shell(book: &Book, id: &str, customer: &Value, first: &Value, trial: Option<i64>, params: &Params) -> Told<Value> {
    let sent = params.text("collection_method") == Some("send_invoice");
    let days = params.integer("days_until_due")?;
    if sent && days.is_none() {
        return Err(Refusal::missing_parameter("days_until_due"));
    }
    let status = match trial {
        Some(_) => "trialing",
        None if sent => "active",
        None => "incomplete",
    };
    let subscription = json!({ "id": id, "object": "subscription",
        "automatic_tax": { "enabled": false, "disabled_reason": null, "liability": null },
        "billing_cycle_anchor": trial.unwrap_or(book.now), "billing_mode": { "type": "classic", "flexible": null },
        "billing_schedules": [], "cancel_at_period_end": params.flag("cancel_at_period_end")?.unwrap_or(false),
        "cancellation_details": { "comment": null, "feedback": null, "reason": null },
        "collection_method": params.text("collection_method").unwrap_or("charge_automatically"), "created": book.now,
        "currency": first["price"]["currency"], "customer": customer["id"],
        "default_payment_method": params.text("default_payment_method"), "default_tax_rates": [],
        "description": params.text("description"), "discounts": [],
        "invoice_settings": { "account_tax_ids": null, "issuer": { "type": "self" } }, "livemode": false,
        "metadata": {}, "payment_settings": { "payment_method_options": null, "payment_method_types": null,
            "save_default_payment_method": "off" },
        "start_date": book.now, "status": status,
        "trial_end": trial, "trial_start": trial.map(|_| book.now),
        "trial_settings": { "end_behavior": { "missing_payment_method": "create_invoice" } } });
    let mut subscription = with_empty(subscription, &EMPTY);
    subscription["days_until_due"] = json!(days);
    params.metadata(&mut subscription);
    Ok(subscription)
}

pub(super) fn new_item(book: &mut Book, subscription: &str, params: &Params) -> Told<Value> {
    params.only(&["price", "quantity", "metadata", "tax_rates"])?;
    let price = book.find("price", params.require("price")?, "items[0][price]")?.clone();
    if price["active"] != true || price["type"] != "recurring" {
        return Err(Refusal::invalid(
            "items[0][price]",
            "The price is inactive or not recurring.",
        ));
    }
    let mut item = json!({ "id": book.id("si"), "object": "subscription_item", "billing_thresholds": null,
        "created": book.now, "current_period_end": book.now, "current_period_start": book.now, "discounts": [],
        "metadata": {}, "plan": plan(&price), "price": price, "quantity": params.integer("quantity")?.unwrap_or(1),
        "subscription": subscription, "tax_rates": [] });
    params.metadata(&mut item);
    Ok(item)
}

/// Starts the period that contains `start` on every item; a trial is a period of its own.
pub(super) fn set_periods(book: &mut Book, id: &str, start: i64, trial_end: Option<i64>) {
    book.change(id, |s| {
        let anchor = s["billing_cycle_anchor"].as_i64().unwrap_or(start);
        for item in s["items"]["data"].as_array_mut().into_iter().flatten() {
            let end = trial_end.unwrap_or_else(|| calendar::period_end(anchor, start, &item["price"]["recurring"]));
            (item["current_period_start"], item["current_period_end"]) = (json!(start), json!(end));
        }
    });
}

/// One line for each item's present period; free of charge during a trial.
pub(super) fn cycle_lines(book: &mut Book, id: &str, free: bool) -> Vec<Value> {
    let items = book.copy(id)["items"]["data"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| {
            let quantity = item["quantity"].as_i64().unwrap_or(1);
            let amount = if free { 0 } else { cost(&item["price"], quantity) };
            invoices::line(book, item, amount, period(item), false)
        })
        .collect()
}

pub(super) fn period(item: &Value) -> (i64, i64) {
    let second = |name: &str| item[name].as_i64().unwrap_or_default();
    (second("current_period_start"), second("current_period_end"))
}

/// Moves a subscription after an attempt to collect one of its invoices.
pub(super) fn after_collection(book: &mut Book, invoice: &str, outcome: Outcome) {
    let bill = book.copy(invoice);
    let Some(id) = bill["parent"]["subscription_details"]["subscription"]
        .as_str()
        .map(str::to_owned)
    else {
        return;
    };
    let was = book.copy(&id)["status"].as_str().unwrap_or_default().to_owned();
    let is = match (outcome, was.as_str()) {
        (Outcome::Paid, "incomplete" | "past_due" | "unpaid") => "active",
        (Outcome::Paid | Outcome::UnderWay, _) => return,
        (_, "active" | "trialing") => "past_due",
        _ => return,
    };
    book.change(&id, |s| s["status"] = json!(is));
    book.emit("customer.subscription.updated", &id);
}

/// `POST /subscriptions/{id}`.
pub(super) fn update(book: &mut Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&[
        "items",
        "cancel_at_period_end",
        "cancel_at",
        "default_payment_method",
        "metadata",
        "pause_collection",
        "proration_behavior",
        "proration_date",
        "trial_end",
        "payment_behavior",
        "cancellation_details",
        "off_session",
        "billing_cycle_anchor",
        "description",
    ])?;
    let before = book.find("subscription", id, "id")?.clone();
    if !before["ended_at"].is_null() {
        return Err(Refusal::state(
            "resource_missing",
            "A canceled subscription can only update its metadata.",
        ));
    }
    let at_end = params.flag("cancel_at_period_end")?;
    let cancel_at = params.integer("cancel_at")?;
    let now = book.now;
    let changed = (!params.groups("items").is_empty())
        .then(|| proration::change_items(book, id, params))
        .transpose()?;
    book.change(id, |s| {
        params.copy(&["default_payment_method", "description"], s);
        params.metadata(s);
        if let Some(at_end) = at_end {
            s["cancel_at_period_end"] = json!(at_end);
            let end = s["items"]["data"][0]["current_period_end"].clone();
            s["cancel_at"] = if at_end { end } else { Value::Null };
            s["canceled_at"] = if at_end { json!(now) } else { Value::Null };
        }
        if params.has("cancel_at") {
            s["cancel_at"] = json!(cancel_at);
        }
        if params.has("pause_collection") {
            s["pause_collection"] = params.under("pause_collection").map_or(
                Value::Null,
                |p| json!({ "behavior": p.text("behavior"), "resumes_at": p.integer("resumes_at").ok().flatten() }),
            );
        }
    });
    book.emit("customer.subscription.updated", id);
    if let Some(invoice) = changed.flatten() {
        invoices::advance(book, &invoice);
    }
    Ok(book.copy(id))
}

/// `DELETE /subscriptions/{id}`: ends it now.
pub(super) fn cancel(book: &mut Book, id: &str) -> Told<Value> {
    if !book.find("subscription", id, "id")?["ended_at"].is_null() {
        return Err(Refusal::no_such("subscription", id, "id"));
    }
    end(book, id, "cancellation_requested");
    Ok(book.copy(id))
}

/// Ends a subscription; its open invoices are no longer collected.
pub(super) fn end(book: &mut Book, id: &str, reason: &str) {
    let now = book.now;
    book.change(id, |s| {
        s["status"] = json!("canceled");
        s["ended_at"] = json!(now);
        s["canceled_at"] = if s["canceled_at"].is_null() {
            json!(now)
        } else {
            s["canceled_at"].clone()
        };
        s["cancellation_details"]["reason"] = json!(reason);
    });
    let open = book.ids("invoice", |i| {
        i["parent"]["subscription_details"]["subscription"] == id && (i["status"] == "open" || i["status"] == "draft")
    });
    for invoice in open {
        book.change(&invoice, |i| {
            (i["auto_advance"], i["next_payment_attempt"]) = (json!(false), Value::Null)
        });
    }
    book.emit("customer.subscription.deleted", id);
}
