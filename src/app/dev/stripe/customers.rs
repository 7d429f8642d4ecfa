//! Customers, their cards and their tax ids.

use serde_json::{Value, json};

use super::book::{Book, Card};
use super::form::Params;
use super::refusal::{Refusal, Told};

const FIELDS: [&str; 14] = [
    "name",
    "email",
    "phone",
    "description",
    "metadata",
    "payment_method",
    "invoice_settings",
    "balance",
    "address",
    "preferred_locales",
    "tax_exempt",
    "shipping",
    "tax",
    "test_clock",
];

pub(super) fn create(book: &mut Book, params: &Params) -> Told<Value> {
    params.only(&FIELDS)?;
    let id = book.id("cus");
    let customer = json!({ "id": id, "object": "customer", "address": null,
        "balance": params.integer("balance")?.unwrap_or(0), "created": book.now, "currency": null,
        "default_source": null, "delinquent": false, "description": null, "discount": null, "email": null,
        "invoice_prefix": format!("{:08X}", book.now), "livemode": false, "metadata": {}, "name": null,
        "next_invoice_sequence": 1, "phone": null, "preferred_locales": [], "shipping": null, "tax_exempt": "none",
        "test_clock": null, "invoice_settings": { "custom_fields": null, "default_payment_method": null,
            "footer": null, "rendering_options": null } });
    book.insert("customer", customer);
    apply(book, &id, params)?;
    book.emit("customer.created", &id);
    Ok(book.copy(&id))
}

pub(super) fn update(book: &mut Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&FIELDS)?;
    live(book, id)?;
    apply(book, id, params)?;
    book.emit("customer.updated", id);
    Ok(book.copy(id))
}

fn apply(book: &mut Book, id: &str, params: &Params) -> Told<()> {
    let balance = params.integer("balance")?;
    if let Some(method) = params.text("payment_method") {
        let method = attach(book, method, id)?["id"].clone();
        book.change(id, |c| c["invoice_settings"]["default_payment_method"] = method);
    }
    let settings = params.under("invoice_settings");
    let default = settings.as_ref().and_then(|s| s.text("default_payment_method"));
    if let Some(default) = default {
        let method = own_method(book, default, id)?;
        book.change(id, |c| c["invoice_settings"]["default_payment_method"] = method);
    }
    book.change(id, |customer| {
        params.copy(&["name", "email", "phone", "description", "tax_exempt"], customer);
        params.metadata(customer);
        customer["balance"] = balance.map_or_else(|| customer["balance"].clone(), Value::from);
        if let Some(address) = params.under("address") {
            customer["address"] = json!({ "city": address.text("city"), "country": address.text("country"),
                "line1": address.text("line1"), "line2": address.text("line2"),
                "postal_code": address.text("postal_code"), "state": address.text("state") });
        }
    });
    Ok(())
}

/// The customer, unless it was deleted.
pub(super) fn live(book: &Book, id: &str) -> Told<Value> {
    let customer = book.find("customer", id, "id")?;
    match customer["deleted"].as_bool() {
        Some(true) => Err(Refusal::no_such("customer", id, "id")),
        _ => Ok(customer.clone()),
    }
}

/// Deletes a customer and ends its subscriptions. A later read answers `deleted: true`.
pub(super) fn delete(book: &mut Book, id: &str) -> Told<Value> {
    let before = live(book, id)?;
    for subscription in book.ids("subscription", |s| s["customer"] == id && s["ended_at"].is_null()) {
        super::subscriptions::end(book, &subscription, "cancellation_requested");
    }
    let gone = json!({ "id": id, "object": "customer", "deleted": true });
    book.change(id, |customer| *customer = gone.clone());
    book.emit_object("customer.deleted", id, before);
    Ok(gone)
}

/// Attaches a payment method to a customer. `pm_card_visa`, `pm_card_chargeCustomerFail`, `pm_card_authenticationRequired` and
/// `pm_usBankAccount` name Stripe's test methods and make a new one of that behaviour.
pub(super) fn attach(book: &mut Book, method: &str, customer: &str) -> Told<Value> {
    let (card, brand, last4) = match method {
        "pm_card_visa" => (Card::Pays, "visa", "4242"),
        "pm_card_mastercard" => (Card::Pays, "mastercard", "4444"),
        "pm_card_chargeCustomerFail" => (Card::Declines, "visa", "0341"),
        "pm_card_authenticationRequired" => (Card::Authenticates, "visa", "3184"),
        "pm_usBankAccount" => (Card::Debits, "bank", "6789"),
        known => {
            own_method(book, known, customer)?;
            return Ok(book.copy(known));
        }
    };
    let id = book.id("pm");
    let details = json!({ "brand": brand, "checks": null, "country": "US", "display_brand": brand, "exp_month": 12,
        "exp_year": 2040, "fingerprint": format!("fp{last4}"), "funding": "credit", "generated_from": null,
        "last4": last4, "networks": null, "regulated_status": null, "three_d_secure_usage": null, "wallet": null });
    let object = json!({ "id": id, "object": "payment_method", "allow_redisplay": "unspecified",
        "billing_details": { "address": null, "email": null, "name": null, "phone": null, "tax_id": null },
        "card": details, "created": book.now, "customer": customer, "livemode": false, "metadata": {},
        "type": "card" });
    book.cards.insert(id.clone(), card);
    book.insert("payment_method", object.clone());
    book.emit("payment_method.attached", &id);
    Ok(object)
}

fn own_method(book: &Book, method: &str, customer: &str) -> Told<Value> {
    let known = book.find("payment_method", method, "payment_method")?;
    if known["customer"] != customer {
        return Err(Refusal::invalid(
            "payment_method",
            "The payment method belongs to no or another customer.",
        ));
    }
    Ok(known["id"].clone())
}

pub(super) fn create_tax_id(book: &mut Book, customer: &str, params: &Params) -> Told<Value> {
    params.only(&["type", "value"])?;
    live(book, customer)?;
    let (kind, value) = (params.require("type")?.to_owned(), params.require("value")?.to_owned());
    let id = book.id("txi");
    let tax_id = json!({ "id": id, "object": "tax_id", "country": value.get(..2), "created": book.now,
        "customer": customer, "livemode": false, "type": kind, "value": value,
        "owner": { "type": "customer", "customer": customer, "account": null, "application": null },
        "verification": { "status": "pending", "verified_address": null, "verified_name": null } });
    book.insert("tax_id", tax_id.clone());
    book.emit("customer.tax_id.created", &id);
    Ok(tax_id)
}
