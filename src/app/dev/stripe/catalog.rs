//! Products and prices.

use serde_json::{Value, json};

use super::book::Book;
use super::form::Params;
use super::refusal::{Refusal, Told};

pub(super) fn create_product(book: &mut Book, params: &Params) -> Told<Value> {
    params.only(&[
        "id",
        "name",
        "description",
        "metadata",
        "active",
        "unit_label",
        "url",
        "tax_code",
    ])?;
    let name = params.require("name")?.to_owned();
    let id = params.text("id").map_or_else(|| book.id("prod"), str::to_owned);
    let mut product = json!({ "id": id, "object": "product", "active": params.flag("active")?.unwrap_or(true),
        "created": book.now, "default_price": null, "description": null, "images": [], "livemode": false,
        "marketing_features": [], "metadata": {}, "name": name, "package_dimensions": null, "shippable": null,
        "statement_descriptor": null, "tax_code": null, "type": "service", "unit_label": null, "updated": book.now,
        "url": null });
    params.copy(&["description", "unit_label", "url", "tax_code"], &mut product);
    params.metadata(&mut product);
    book.insert("product", product.clone());
    book.emit("product.created", &id);
    Ok(product)
}

pub(super) fn update_product(book: &mut Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&[
        "name",
        "description",
        "metadata",
        "active",
        "unit_label",
        "url",
        "tax_code",
        "default_price",
    ])?;
    book.find("product", id, "id")?;
    let active = params.flag("active")?;
    let now = book.now;
    let product = book.change(id, |product| {
        params.copy(
            &["name", "description", "unit_label", "url", "tax_code", "default_price"],
            product,
        );
        params.metadata(product);
        product["active"] = active.map_or_else(|| product["active"].clone(), Value::Bool);
        product["updated"] = json!(now);
    });
    book.emit("product.updated", id);
    Ok(product)
}

pub(super) fn create_price(book: &mut Book, params: &Params) -> Told<Value> {
    params.only(&[
        "currency",
        "unit_amount",
        "product",
        "product_data",
        "recurring",
        "metadata",
        "nickname",
        "active",
        "lookup_key",
        "tax_behavior",
        "billing_scheme",
        "tiers",
        "tiers_mode",
    ])?;
    let currency = params.require("currency")?.to_lowercase();
    let product = match params.under("product_data") {
        Some(data) => create_product(book, &data)?["id"].clone(),
        None => book.find("product", params.require("product")?, "product")?["id"].clone(),
    };
    let amount = params.integer("unit_amount")?;
    let tiered = params.text("billing_scheme") == Some("tiered");
    if amount.is_none() && !tiered {
        return Err(Refusal::missing_parameter("unit_amount"));
    }
    let id = book.id("price");
    let recurring = params.under("recurring").map(|r| recurring(&r)).transpose()?;
    let mut price = json!({ "id": id, "object": "price", "active": params.flag("active")?.unwrap_or(true),
        "billing_scheme": if tiered { "tiered" } else { "per_unit" }, "created": book.now, "currency": currency,
        "custom_unit_amount": null, "livemode": false, "lookup_key": null, "metadata": {}, "nickname": null,
        "product": product, "recurring": recurring, "tax_behavior": "unspecified", "tiers_mode": null,
        "transform_quantity": null, "type": if recurring.is_some() { "recurring" } else { "one_time" },
        "unit_amount": amount, "unit_amount_decimal": amount.map(|a| a.to_string()) });
    if tiered {
        price["tiers"] = params
            .groups("tiers")
            .iter()
            .map(tier)
            .collect::<Told<Vec<Value>>>()?
            .into();
    }
    params.copy(&["nickname", "lookup_key", "tax_behavior", "tiers_mode"], &mut price);
    params.metadata(&mut price);
    book.insert("price", price.clone());
    book.emit("price.created", &id);
    Ok(price)
}

fn recurring(params: &Params) -> Told<Value> {
    params.only(&["interval", "interval_count", "usage_type", "trial_period_days", "meter"])?;
    let interval = params.require("interval")?;
    if !["day", "week", "month", "year"].contains(&interval) {
        return Err(Refusal::invalid(
            "recurring[interval]",
            "Invalid interval: must be one of day, month, week, year.",
        ));
    }
    Ok(
        json!({ "interval": interval, "interval_count": params.integer("interval_count")?.unwrap_or(1),
        "meter": params.text("meter"), "trial_period_days": params.integer("trial_period_days")?,
        "usage_type": params.text("usage_type").unwrap_or("licensed") }),
    )
}

fn tier(params: &Params) -> Told<Value> {
    let amount = params.integer("unit_amount")?;
    let flat = params.integer("flat_amount")?;
    let up_to = params
        .text("up_to")
        .filter(|t| *t != "inf")
        .and_then(|t| t.parse::<i64>().ok());
    Ok(
        json!({ "flat_amount": flat, "flat_amount_decimal": flat.map(|a| a.to_string()), "unit_amount": amount,
        "unit_amount_decimal": amount.map(|a| a.to_string()), "up_to": up_to }),
    )
}

pub(super) fn update_price(book: &mut Book, id: &str, params: &Params) -> Told<Value> {
    params.only(&[
        "metadata",
        "nickname",
        "active",
        "lookup_key",
        "tax_behavior",
        "transfer_lookup_key",
    ])?;
    book.find("price", id, "id")?;
    let active = params.flag("active")?;
    let price = book.change(id, |price| {
        params.copy(&["nickname", "lookup_key", "tax_behavior"], price);
        params.metadata(price);
        price["active"] = active.map_or_else(|| price["active"].clone(), Value::Bool);
    });
    book.emit("price.updated", id);
    Ok(price)
}

/// What a price asks for a quantity, in minor units: graduated tiers where it has tiers.
pub(super) fn cost(price: &Value, quantity: i64) -> i64 {
    let Some(tiers) = price["tiers"].as_array() else {
        return price["unit_amount"].as_i64().unwrap_or_default() * quantity;
    };
    let (mut from, mut total) = (0, 0);
    for tier in tiers {
        let to = tier["up_to"].as_i64().unwrap_or(i64::MAX).min(quantity);
        if to > from {
            total += tier["flat_amount"].as_i64().unwrap_or_default();
            total += tier["unit_amount"].as_i64().unwrap_or_default() * (to - from);
            from = to;
        }
    }
    total
}

/// The plan object that still accompanies a price inside a subscription item.
pub(super) fn plan(price: &Value) -> Value {
    let recurring = &price["recurring"];
    json!({ "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "billing_scheme": price["billing_scheme"],
        "created": price["created"], "currency": price["currency"], "interval": recurring["interval"],
        "interval_count": recurring["interval_count"], "livemode": false, "metadata": price["metadata"], "meter": null,
        "nickname": price["nickname"], "product": price["product"], "tiers_mode": price["tiers_mode"],
        "transform_usage": null, "trial_period_days": null, "usage_type": recurring["usage_type"] })
}
