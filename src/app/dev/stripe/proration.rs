//! Changing what a subscription buys in the middle of a period.

use serde_json::{Value, json};

use super::book::Book;
use super::catalog::{cost, plan};
use super::form::Params;
use super::refusal::{Refusal, Told};
use super::{invoices, subscriptions};

/// Applies `items[]` of an update. Answers the invoice that is to be collected now, if the change asks for one.
pub(super) fn change_items(book: &mut Book, id: &str, params: &Params) -> Told<Option<String>> {
    let behavior = params.text("proration_behavior").unwrap_or("create_prorations");
    let now = params.integer("proration_date")?.unwrap_or(book.now);
    let trialing = book.copy(id)["status"] == "trialing";
    let mut lines = Vec::new();
    let mut moved = false;
    for change in params.groups("items") {
        change.only(&["id", "price", "quantity", "deleted", "metadata"])?;
        let before = find_item(book, id, &change)?;
        let after = changed(book, id, before.as_ref(), &change)?;
        let interval = |item: &Option<Value>| item.as_ref().map(|i| i["price"]["recurring"]["interval"].clone());
        moved |= before.is_some() && after.is_some() && interval(&before) != interval(&after);
        if behavior != "none" && !trialing {
            lines.extend(before.as_ref().map(|item| share(book, item, now, -1)));
            if !moved {
                lines.extend(after.as_ref().map(|item| share(book, item, now, 1)));
            }
        }
        replace(book, id, before.as_ref(), after);
    }
    if moved {
        let start = book.now;
        book.change(id, |s| s["billing_cycle_anchor"] = json!(start));
        subscriptions::set_periods(book, id, start, None);
        lines.extend(subscriptions::cycle_lines(book, id, trialing));
    }
    if lines.is_empty() {
        return Ok(None);
    }
    if behavior == "always_invoice" || moved {
        return Ok(Some(invoices::draft(book, id, "subscription_update", lines)));
    }
    book.pending_lines.entry(id.to_owned()).or_default().extend(lines);
    Ok(None)
}

fn find_item(book: &Book, id: &str, change: &Params) -> Told<Option<Value>> {
    let Some(item) = change.text("id") else { return Ok(None) };
    let items = book.copy(id)["items"]["data"].as_array().cloned().unwrap_or_default();
    let found = items.into_iter().find(|i| i["id"] == item);
    found
        .map(Some)
        .ok_or_else(|| Refusal::no_such("subscription_item", item, "items[0][id]"))
}

fn changed(book: &mut Book, id: &str, before: Option<&Value>, change: &Params) -> Told<Option<Value>> {
    let Some(before) = before else {
        let mut item = subscriptions::new_item(book, id, change)?;
        let first = book.copy(id)["items"]["data"][0].clone();
        item["current_period_start"] = first["current_period_start"].clone();
        item["current_period_end"] = first["current_period_end"].clone();
        return Ok(Some(item));
    };
    if change.flag("deleted")? == Some(true) {
        return Ok(None);
    }
    let mut after = before.clone();
    if let Some(price) = change.text("price") {
        let price = book.find("price", price, "items[0][price]")?.clone();
        (after["plan"], after["price"]) = (plan(&price), price);
    }
    if let Some(quantity) = change.integer("quantity")? {
        after["quantity"] = json!(quantity);
    }
    Ok(Some(after))
}

fn replace(book: &mut Book, id: &str, before: Option<&Value>, after: Option<Value>) {
    book.change(id, |s| {
        let Some(items) = s["items"]["data"].as_array_mut() else {
            return;
        };
        let at = before.and_then(|b| items.iter().position(|i| i["id"] == b["id"]));
        match (at, after) {
            (Some(at), Some(after)) => items[at] = after,
            (Some(at), None) => drop(items.remove(at)),
            (None, Some(after)) => items.push(after),
            (None, None) => {}
        }
    });
}

/// The part of an item's price for what is left of its period: a credit (−1) or a charge (1).
fn share(book: &mut Book, item: &Value, now: i64, sign: i64) -> Value {
    let (start, end) = subscriptions::period(item);
    let whole = cost(&item["price"], item["quantity"].as_i64().unwrap_or(1));
    let amount = whole * (end - now).max(0) / (end - start).max(1);
    invoices::line(book, item, sign * amount, (now, end), true)
}
