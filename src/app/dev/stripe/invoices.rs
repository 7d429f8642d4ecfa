//! Invoices: drafted, finalised, paid, voided.

use serde_json::{Value, json};

use super::book::{Book, with_empty};
use super::expand::{list, part};
use super::form::Params;
use super::payments::{self, Outcome};
use super::refusal::{Refusal, Told};
use super::subscriptions;

/// Seconds between a draft and its finalisation, and days between attempts to collect.
const DRAFT_SECONDS: i64 = 3600;
const RETRY_DAYS: [i64; 3] = [3, 5, 7];

/// Drafts an invoice of a subscription. Pending proration lines ride along.
pub(super) fn draft(book: &mut Book, subscription: &str, reason: &str, mut lines: Vec<Value>) -> String {
    let id = book.id("in");
    lines.splice(0..0, book.pending_lines.remove(subscription).unwrap_or_default());
    for line in &mut lines {
        line["invoice"] = json!(id);
    }
    let owner = book.copy(subscription);
    let customer = book.copy(owner["customer"].as_str().unwrap_or_default());
    let total: i64 = lines.iter().filter_map(|l| l["amount"].as_i64()).sum();
    let item = &owner["items"]["data"][0];
    let mut invoice = blank();
    let own = json!({ "id": id, "amount_due": total.max(0), "amount_remaining": total.max(0),
        "automatically_finalizes_at": book.now + DRAFT_SECONDS, "billing_reason": reason,
        "collection_method": owner["collection_method"], "created": book.now, "currency": owner["currency"],
        "due_date": owner["days_until_due"].as_i64().map(|days| book.now + days * 86_400),
        "customer": owner["customer"], "customer_email": customer["email"], "customer_name": customer["name"],
        "lines": list(lines, false, &format!("/v1/invoices/{id}/lines")),
        "parent": { "type": "subscription_details", "quote_details": null, "subscription_details":
            { "metadata": owner["metadata"], "subscription": subscription } },
        "period_end": item["current_period_end"], "period_start": item["current_period_start"], "subtotal": total,
        "subtotal_excluding_tax": total, "total": total, "total_excluding_tax": total,
        "webhooks_delivered_at": book.now });
    for (name, value) in own.as_object().into_iter().flatten() {
        invoice[name] = value.clone();
    }
    book.insert("invoice", invoice);
    let named = id.clone();
    book.change(subscription, |s| s["latest_invoice"] = json!(named));
    book.emit("invoice.created", &id);
    id
}

/// Fields that are empty in a draft.
const EMPTY: [&str; 34] = [
    "account_tax_ids",
    "application",
    "custom_fields",
    "customer_address",
    "customer_phone",
    "customer_shipping",
    "default_payment_method",
    "default_source",
    "description",
    "due_date",
    "effective_at",
    "ending_balance",
    "footer",
    "from_invoice",
    "hosted_invoice_url",
    "id",
    "invoice_pdf",
    "last_finalization_error",
    "latest_revision",
    "next_payment_attempt",
    "number",
    "on_behalf_of",
    "receipt_number",
    "rendering",
    "shipping_cost",
    "shipping_details",
    "statement_descriptor",
    "test_clock",
    "threshold_reason",
    "confirmation_secret",
    "amount_paid_off_stripe",
    "customer_account",
    "status_details",
    "parent",
];

/// A draft about which nothing is known yet.
fn blank() -> Value {
    let invoice = json!({ "object": "invoice", "account_country": "US", "account_name": "Stub",
        "amount_overpaid": 0, "amount_paid": 0, "amount_shipping": 0, "attempt_count": 0, "attempted": false,
        "auto_advance": true, "automatic_tax":
            { "enabled": false, "disabled_reason": null, "liability": null, "provider": null, "status": null },
        "customer_tax_exempt": "none", "customer_tax_ids": [], "default_tax_rates": [], "discounts": [],
        "issuer": { "type": "self" }, "livemode": false, "metadata": {}, "payment_settings":
            { "default_mandate": null, "payment_method_options": null, "payment_method_types": null },
        "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "starting_balance": 0,
        "status": "draft", "status_transitions":
            { "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null },
        "total_discount_amounts": [], "total_pretax_credit_amounts": [], "total_taxes": [] });
    with_empty(invoice, &EMPTY)
}

/// A line for one subscription item over one period.
pub(super) fn line(book: &mut Book, item: &Value, amount: i64, period: (i64, i64), proration: bool) -> Value {
    let id = book.id("il");
    let price = &item["price"];
    json!({ "id": id, "object": "line_item", "amount": amount, "currency": price["currency"],
        "description": format!("{} × {}", item["quantity"], price["nickname"].as_str().unwrap_or("subscription")),
        "discount_amounts": [], "discountable": !proration, "discounts": [], "invoice": null, "livemode": false,
        "metadata": {},
        "parent": { "type": "subscription_item_details", "invoice_item_details": null, "subscription_item_details":
            { "invoice_item": null, "proration": proration, "proration_details": null,
              "subscription": item["subscription"], "subscription_item": item["id"] } },
        "period": { "start": period.0, "end": period.1 }, "pretax_credit_amounts": [],
        "pricing": { "type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
            "price_details": { "price": price["id"], "product": price["product"] } },
        "quantity": item["quantity"], "subtotal": amount, "taxes": [] })
}

/// `POST /invoiceitems`: something that is billed beside what a subscription buys, with its next invoice.
pub(super) fn ride_along(book: &mut Book, params: &Params) -> Told<Value> {
    params.only(&["customer", "subscription", "amount", "currency", "description"])?;
    let (customer, subscription) = (params.require("customer")?, params.require("subscription")?);
    let amount = params
        .integer("amount")?
        .ok_or_else(|| Refusal::missing_parameter("amount"))?;
    if book.find("subscription", subscription, "subscription")?["customer"] != customer {
        return Err(Refusal::invalid(
            "subscription",
            "The subscription is another customer's.",
        ));
    }
    let (id, line, now) = (book.id("ii"), book.id("il"), book.now);
    let period = json!({ "start": now, "end": now });
    let own = json!({ "id": line, "object": "line_item", "amount": amount, "currency": params.require("currency")?,
        "description": params.text("description"), "discount_amounts": [], "discountable": true, "discounts": [],
        "invoice": null, "livemode": false, "metadata": {},
        "parent": { "type": "invoice_item_details", "subscription_item_details": null, "invoice_item_details":
            { "invoice_item": id, "proration": false, "proration_details": null, "subscription": subscription } },
        "period": period, "pretax_credit_amounts": [], "pricing": null, "quantity": 1, "subtotal": amount, "taxes": [] });
    book.pending_lines.entry(subscription.to_owned()).or_default().push(own);
    Ok(
        json!({ "id": id, "object": "invoiceitem", "amount": amount, "currency": params.require("currency")?,
        "customer": customer, "date": now, "description": params.text("description"), "discountable": true, "discounts": [],
        "invoice": null, "livemode": false, "metadata": {}, "net_amount": amount, "parent": null, "period": period,
        "pricing": null, "proration": false, "quantity": 1, "tax_rates": [], "test_clock": null }),
    )
}

/// Finalises a draft: it gets its number, the customer's credit is spent on it, and a payment is opened.
pub(super) fn finalize(book: &mut Book, id: &str) {
    let invoice = book.copy(id);
    let customer = invoice["customer"].as_str().unwrap_or_default().to_owned();
    let total = invoice["total"].as_i64().unwrap_or_default();
    let balance = book.copy(&customer)["balance"].as_i64().unwrap_or_default();
    let due = (total + balance).max(0);
    let ending = total + balance - due;
    let mut sequence = 1;
    book.change(&customer, |c| {
        sequence = c["next_invoice_sequence"].as_i64().unwrap_or(1);
        c["next_invoice_sequence"] = json!(sequence + 1);
        c["balance"] = json!(ending);
        c["currency"] = invoice["currency"].clone();
    });
    let (now, prefix) = (
        book.now,
        book.copy(&customer)["invoice_prefix"]
            .as_str()
            .unwrap_or("STUB")
            .to_owned(),
    );
    book.change(id, |i| {
        i["status"] = json!("open");
        i["number"] = json!(format!("{prefix}-{sequence:04}"));
        i["hosted_invoice_url"] = json!(format!("https://invoice.example.com/{id}"));
        i["invoice_pdf"] = json!(format!("https://invoice.example.com/{id}/pdf"));
        (i["starting_balance"], i["ending_balance"]) = (json!(balance), json!(ending));
        (i["amount_due"], i["amount_remaining"]) = (json!(due), json!(due));
        i["automatically_finalizes_at"] = Value::Null;
        (i["effective_at"], i["status_transitions"]["finalized_at"]) = (json!(now), json!(now));
    });
    if due > 0 {
        payments::open(book, id);
    }
    book.emit("invoice.finalized", id);
}

/// Finalises a draft and collects it. One that is sent waits for whoever gets it, unless nothing is due.
pub(super) fn advance(book: &mut Book, id: &str) {
    finalize(book, id);
    let invoice = book.copy(id);
    if invoice["collection_method"] != "send_invoice" || invoice["amount_due"] == 0 {
        collect(book, id);
    }
}

/// Nobody paid an invoice that was sent by the day on which it is due.
pub(super) fn overdue(book: &mut Book, id: &str) {
    book.emit("invoice.overdue", id);
    subscriptions::after_collection(book, id, Outcome::NoMethod);
}

/// Tries to collect a finalised invoice, and moves its subscription accordingly.
pub(super) fn collect(book: &mut Book, id: &str) -> Outcome {
    let nothing_due = book.copy(id)["amount_due"] == 0;
    let outcome = if nothing_due {
        Outcome::Paid
    } else {
        payments::attempt(book, id)
    };
    let now = book.now;
    if outcome == Outcome::Paid {
        book.change(id, |i| {
            i["status"] = json!("paid");
            (i["amount_paid"], i["amount_remaining"]) = (i["amount_due"].clone(), json!(0));
            i["status_transitions"]["paid_at"] = json!(now);
            i["attempt_count"] = json!(i["attempt_count"].as_i64().unwrap_or_default() + i64::from(!nothing_due));
            (i["attempted"], i["next_payment_attempt"]) = (json!(true), Value::Null);
        });
        book.emit("invoice.paid", id);
        book.emit("invoice.payment_succeeded", id);
    } else if outcome == Outcome::UnderWay {
        book.change(id, |i| {
            (i["attempted"], i["next_payment_attempt"]) = (json!(true), Value::Null);
        });
        book.emit("invoice.updated", id);
    } else {
        let tried = book.copy(id)["attempt_count"].as_u64().unwrap_or_default() as usize;
        let next = RETRY_DAYS.get(tried).map(|days| now + days * 86_400);
        book.change(id, |i| {
            (i["attempted"], i["attempt_count"]) = (json!(true), json!(tried + 1));
            i["next_payment_attempt"] = json!(next);
        });
        let event = if outcome == Outcome::ActionRequired {
            "action_required"
        } else {
            "failed"
        };
        book.emit(&format!("invoice.payment_{event}"), id);
    }
    subscriptions::after_collection(book, id, outcome);
    outcome
}

/// `POST /invoices/{id}/pay`: one more attempt, with the customer's present card.
pub(super) fn pay(book: &mut Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&["payment_method", "off_session", "paid_out_of_band"])?;
    let invoice = book.find("invoice", id, "id")?.clone();
    if invoice["status"] != "open" {
        return Err(Refusal::state("invoice_not_open", "This invoice is not open."));
    }
    match collect(book, id) {
        Outcome::Paid | Outcome::UnderWay => Ok(book.copy(id)),
        Outcome::Declined => Err(Refusal::declined("generic_decline", Value::Null)),
        Outcome::ActionRequired => Err(Refusal::state(
            "invoice_payment_intent_requires_action",
            "Authenticate first.",
        )),
        Outcome::NoMethod => Err(Refusal::state(
            "resource_missing",
            "There is no default payment method.",
        )),
    }
}

/// `POST /invoices/{id}/void`: an open invoice that nobody is to pay.
pub(super) fn void(book: &mut Book, id: &str) -> Told<Value> {
    if book.find("invoice", id, "id")?["status"] != "open" {
        return Err(Refusal::state("invoice_not_open", "This invoice is not open."));
    }
    let now = book.now;
    book.change(id, |i| {
        i["status"] = json!("void");
        i["status_transitions"]["voided_at"] = json!(now);
        i["next_payment_attempt"] = Value::Null;
    });
    book.emit("invoice.voided", id);
    Ok(book.copy(id))
}

/// `GET /invoices/{id}/lines`.
pub(super) fn lines(book: &Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&["limit", "starting_after"])?;
    let lines = &book.find("invoice", id, "id")?["lines"];
    part(lines, &format!("/v1/invoices/{id}/lines"), params)
}
