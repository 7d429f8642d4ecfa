//! What happens by itself: renewals, drafts that become final, retries, trials and cancellations that come due.

use serde_json::{Value, json};

use super::book::{AfterLastRetry, Book};
use super::payments::Outcome;
use super::{invoices, subscriptions};

/// Seconds after which a subscription whose first invoice is unpaid is given up.
const INCOMPLETE_SECONDS: i64 = 23 * 3600;

/// One thing that comes due.
enum Due {
    Turn(String),
    Cancel(String),
    GiveUp(String),
    Finalize(String),
    Retry(String),
    Overdue(String),
}

/// Lives through everything that is due up to `until`, each thing at its own second. False: nothing was.
pub(super) fn catch_up(book: &mut Book, until: i64) -> bool {
    let mut happened = false;
    while let Some((at, due)) = next(book).filter(|(at, _)| *at <= until) {
        book.now = at;
        happen(book, due);
        happened = true;
    }
    book.now = until;
    happened
}

fn next(book: &Book) -> Option<(i64, Due)> {
    let subscriptions = book
        .all("subscription")
        .filter(|s| s["ended_at"].is_null())
        .filter_map(due_subscription);
    let invoices = book.all("invoice").filter_map(|invoice| due_invoice(book, invoice));
    subscriptions.chain(invoices).min_by_key(|(at, _)| *at)
}

fn due_subscription(s: &Value) -> Option<(i64, Due)> {
    let id = s["id"].as_str()?.to_owned();
    if s["status"] == "incomplete" {
        return Some((s["created"].as_i64()? + INCOMPLETE_SECONDS, Due::GiveUp(id)));
    }
    let turn = s["items"]["data"]
        .as_array()?
        .iter()
        .filter_map(|i| i["current_period_end"].as_i64())
        .min()?;
    match s["cancel_at"].as_i64() {
        Some(at) if at <= turn => Some((at, Due::Cancel(id))),
        _ => Some((turn, Due::Turn(id))),
    }
}

fn due_invoice(book: &Book, i: &Value) -> Option<(i64, Due)> {
    let id = i["id"].as_str()?.to_owned();
    if i["auto_advance"] != true {
        return None;
    }
    match i["status"].as_str()? {
        "draft" => Some((i["automatically_finalizes_at"].as_i64()?, Due::Finalize(id))),
        // What is overdue is told once: the subscription is not active any more.
        "open" if i["collection_method"] == "send_invoice" => {
            let owner = i["parent"]["subscription_details"]["subscription"].as_str()?;
            let waits = book.get(owner)?["status"] == "active";
            Some((i["due_date"].as_i64().filter(|_| waits)?, Due::Overdue(id)))
        }
        "open" => Some((i["next_payment_attempt"].as_i64()?, Due::Retry(id))),
        _ => None,
    }
}

fn happen(book: &mut Book, due: Due) {
    match due {
        Due::Turn(id) => turn(book, &id),
        Due::Cancel(id) => subscriptions::end(book, &id, "cancellation_requested"),
        Due::GiveUp(id) => {
            let now = book.now;
            book.change(&id, |s| {
                (s["status"], s["ended_at"]) = (json!("incomplete_expired"), json!(now))
            });
            book.emit("customer.subscription.updated", &id);
        }
        Due::Finalize(id) => invoices::advance(book, &id),
        Due::Overdue(id) => invoices::overdue(book, &id),
        Due::Retry(id) => {
            let outcome = invoices::collect(book, &id);
            let last = book.copy(&id)["next_payment_attempt"].is_null();
            if outcome != Outcome::Paid && last {
                give_up(book, &id);
            }
        }
    }
}

/// A period ends and the next begins. The invoice is a draft for an hour; a trial's end is collected at once.
fn turn(book: &mut Book, id: &str) {
    let before = book.copy(id);
    let trial_over = before["status"] == "trialing";
    let now = book.now;
    if trial_over {
        book.change(id, |s| s["status"] = json!("active"));
    }
    subscriptions::set_periods(book, id, now, None);
    if before["status"] == "unpaid" || !before["pause_collection"].is_null() {
        book.emit("customer.subscription.updated", id);
        return;
    }
    let lines = subscriptions::cycle_lines(book, id, false);
    let invoice = invoices::draft(book, id, "subscription_cycle", lines);
    book.emit("customer.subscription.updated", id);
    if trial_over {
        invoices::advance(book, &invoice);
    }
}

/// The last retry failed: the seller's setting decides.
fn give_up(book: &mut Book, invoice: &str) {
    let bill = book.copy(invoice);
    let Some(id) = bill["parent"]["subscription_details"]["subscription"].as_str() else {
        return;
    };
    match book.after_last_retry {
        AfterLastRetry::Cancel => subscriptions::end(book, id, "payment_failed"),
        AfterLastRetry::MarkUnpaid => {
            book.change(id, |s| s["status"] = json!("unpaid"));
            book.emit("customer.subscription.updated", id);
        }
        AfterLastRetry::LeavePastDue => {}
    }
}
