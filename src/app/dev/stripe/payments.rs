//! Money changing hands: payment intents, charges, and the invoice payments that tie them to an invoice.

use serde_json::{Value, json};

use super::book::{Book, Card, with_empty};

const EMPTY_IN_CHARGE: [&str; 18] = [
    "application",
    "application_fee",
    "application_fee_amount",
    "balance_transaction",
    "description",
    "failure_balance_transaction",
    "on_behalf_of",
    "receipt_email",
    "receipt_number",
    "receipt_url",
    "review",
    "shipping",
    "source",
    "source_transfer",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
];
const EMPTY_IN_INTENT: [&str; 20] = [
    "application",
    "application_fee_amount",
    "automatic_payment_methods",
    "canceled_at",
    "cancellation_reason",
    "description",
    "last_payment_error",
    "latest_charge",
    "next_action",
    "on_behalf_of",
    "payment_method",
    "processing",
    "receipt_email",
    "review",
    "setup_future_usage",
    "shipping",
    "source",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
];

/// How an attempt to collect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Paid,
    Declined,
    ActionRequired,
    NoMethod,
    /// The bank was told, and has not answered.
    UnderWay,
}

/// Opens the payment intent of a finalised invoice, and the invoice payment that names it.
pub(super) fn open(book: &mut Book, invoice: &str) {
    let bill = book.copy(invoice);
    let intent = book.id("pi");
    let object = json!({ "id": intent, "object": "payment_intent", "amount": bill["amount_due"],
        "amount_capturable": 0, "amount_details": { "tip": {} }, "amount_received": 0, "capture_method": "automatic",
        "client_secret": format!("{intent}_secret_stub"), "confirmation_method": "automatic", "created": book.now,
        "currency": bill["currency"], "customer": bill["customer"], "livemode": false, "metadata": {},
        "payment_method_options": {}, "payment_method_types": ["card"], "status": "requires_payment_method",
        "transfer_group": null });
    let object = with_empty(object, &EMPTY_IN_INTENT);
    book.insert("payment_intent", object);
    let id = book.id("inpay");
    let payment = json!({ "id": id, "object": "invoice_payment", "amount_paid": null,
        "amount_requested": bill["amount_due"], "created": book.now, "currency": bill["currency"],
        "invoice": invoice, "is_default": true, "livemode": false,
        "payment": { "type": "payment_intent", "payment_intent": intent }, "status": "open",
        "status_transitions": { "canceled_at": null, "paid_at": null } });
    book.insert("invoice_payment", payment);
    book.emit("payment_intent.created", &intent);
}

/// The open invoice payment of an invoice, with the id of its payment intent.
fn pending(book: &Book, invoice: &str) -> Option<(String, String)> {
    let found = book
        .all("invoice_payment")
        .rev()
        .find(|p| p["invoice"] == invoice && p["status"] == "open")?;
    Some((
        found["id"].as_str()?.to_owned(),
        found["payment"]["payment_intent"].as_str()?.to_owned(),
    ))
}

/// The payment method that an invoice would be charged to: the subscription's own, else the customer's default.
pub(super) fn method(book: &Book, invoice: &Value) -> Option<String> {
    let subscription = invoice["parent"]["subscription_details"]["subscription"]
        .as_str()
        .map(|id| book.copy(id));
    let own = subscription.and_then(|s| s["default_payment_method"].as_str().map(str::to_owned));
    own.or_else(|| {
        let customer = book.get(invoice["customer"].as_str()?)?;
        customer["invoice_settings"]["default_payment_method"]
            .as_str()
            .map(str::to_owned)
    })
}

/// Tries to collect an open invoice once, and tells what came of it.
pub(super) fn attempt(book: &mut Book, invoice: &str) -> Outcome {
    let bill = book.copy(invoice);
    let (Some(method), Some((payment, intent))) = (method(book, &bill), pending(book, invoice)) else {
        return Outcome::NoMethod;
    };
    match book.cards.get(&method).copied().unwrap_or(Card::Pays) {
        Card::Pays => {
            collect(book, &bill, &payment, &intent, &method);
            Outcome::Paid
        }
        Card::Declines => {
            decline(book, &bill, &intent, &method);
            Outcome::Declined
        }
        Card::Debits if book.copy(&intent)["status"] == "processing" => {
            collect(book, &bill, &payment, &intent, &method);
            Outcome::Paid
        }
        Card::Debits => {
            book.change(&intent, |i| {
                (i["status"], i["payment_method"]) = (json!("processing"), json!(method));
            });
            book.emit("payment_intent.processing", &intent);
            Outcome::UnderWay
        }
        Card::Authenticates => {
            book.change(&intent, |i| {
                i["status"] = json!("requires_action");
                i["payment_method"] = json!(method);
                i["next_action"] = json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} });
            });
            book.emit("payment_intent.requires_action", &intent);
            Outcome::ActionRequired
        }
    }
}

fn collect(book: &mut Book, bill: &Value, payment: &str, intent: &str, method: &str) {
    let charge = make_charge(book, bill, intent, method, "succeeded");
    let now = book.now;
    book.change(intent, |i| {
        i["status"] = json!("succeeded");
        i["amount_received"] = bill["amount_due"].clone();
        i["payment_method"] = json!(method);
        i["latest_charge"] = json!(charge);
        (i["last_payment_error"], i["next_action"]) = (Value::Null, Value::Null);
    });
    book.change(payment, |p| {
        p["status"] = json!("paid");
        p["amount_paid"] = bill["amount_due"].clone();
        p["status_transitions"]["paid_at"] = json!(now);
    });
    book.emit("charge.succeeded", &charge);
    book.emit("payment_intent.succeeded", intent);
    book.emit("invoice_payment.paid", payment);
}

fn decline(book: &mut Book, bill: &Value, intent: &str, method: &str) {
    let charge = make_charge(book, bill, intent, method, "failed");
    book.change(intent, |i| {
        i["status"] = json!("requires_payment_method");
        i["latest_charge"] = json!(charge);
        i["last_payment_error"] = json!({ "type": "card_error", "code": "card_declined", "charge": charge,
            "decline_code": "generic_decline", "message": "Your card was declined." });
    });
    book.emit("charge.failed", &charge);
    book.emit("payment_intent.payment_failed", intent);
}

fn make_charge(book: &mut Book, bill: &Value, intent: &str, method: &str, status: &str) -> String {
    let id = book.id("ch");
    let paid = status == "succeeded";
    let card = book.copy(method)["card"].clone();
    let captured = if paid { bill["amount_due"].clone() } else { json!(0) };
    let outcome = if paid {
        json!({ "type": "authorized", "network_status": "approved_by_network", "reason": null,
            "risk_level": "normal", "seller_message": "Payment complete." })
    } else {
        json!({ "type": "issuer_declined", "network_status": "declined_by_network", "reason": "generic_decline",
            "risk_level": "normal", "seller_message": "The bank did not return any further details." })
    };
    let charge = json!({ "id": id, "object": "charge", "amount": bill["amount_due"], "amount_captured": captured,
        "amount_refunded": 0, "calculated_statement_descriptor": "STUB", "captured": paid,
        "billing_details": { "address": null, "email": null, "name": null, "phone": null, "tax_id": null },
        "created": book.now, "currency": bill["currency"], "customer": bill["customer"], "disputed": false,
        "failure_code": if paid { Value::Null } else { json!("card_declined") },
        "failure_message": if paid { Value::Null } else { json!("Your card was declined.") },
        "fraud_details": {}, "livemode": false, "metadata": {}, "outcome": outcome, "paid": paid,
        "payment_intent": intent, "payment_method": method, "refunded": false, "status": status,
        "payment_method_details": { "type": "card", "card": { "brand": card["brand"], "country": card["country"],
            "exp_month": card["exp_month"], "exp_year": card["exp_year"], "funding": card["funding"],
            "last4": card["last4"], "fingerprint": card["fingerprint"], "three_d_secure": null, "wallet": null } } });
    let charge = with_empty(charge, &EMPTY_IN_CHARGE);
    book.insert("charge", charge);
    id
}
