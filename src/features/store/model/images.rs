//! What was seen at Stripe, as columns: the mirror is written with these and refuses nothing.

use chrono::{DateTime, Utc};
use diesel::{AsChangeset, Insertable};
use serde_json::{Value, json};

use super::{InvoiceId, SubscriptionId};
use crate::{
    features::schema::billing::{
        billing_customers, invoice_lines, invoices, payments, prices, subscription_items, subscriptions,
    },
    kernel::{
        id::CustomerId,
        inbox::ConnectionId,
        stripe::{self, Expandable},
    },
};

/// Lines of an invoice that are kept. What is delivered follows from all of them, as they were seen.
const LINES_KEPT: usize = 100;

/// PostgreSQL's text holds no U+0000; a customer's name may.
fn clean(text: Option<&String>) -> Option<String> {
    text.map(|text| text.replace('\0', "\u{fffd}"))
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = prices, treat_none_as_null = true)]
pub(in crate::features::store) struct PriceImage {
    pub(in crate::features::store) connection_id: ConnectionId,
    pub(in crate::features::store) stripe_price_id: String,
    pub(in crate::features::store) stripe_product_id: Option<String>,
    pub(in crate::features::store) nickname: Option<String>,
    pub(in crate::features::store) lookup_key: Option<String>,
    pub(in crate::features::store) active: bool,
    pub(in crate::features::store) currency: String,
    pub(in crate::features::store) unit_amount: Option<i64>,
    pub(in crate::features::store) billing_scheme: Option<String>,
    pub(in crate::features::store) tiers_mode: Option<String>,
    pub(in crate::features::store) interval: Option<String>,
    pub(in crate::features::store) interval_count: Option<i64>,
    pub(in crate::features::store) usage_type: Option<String>,
    pub(in crate::features::store) tax_behavior: Option<String>,
}

impl PriceImage {
    pub(in crate::features::store) fn of(connection: ConnectionId, seen: &stripe::Price) -> PriceImage {
        let recurring = seen.recurring.as_ref();
        PriceImage {
            connection_id: connection,
            stripe_price_id: seen.id.clone(),
            stripe_product_id: seen.product.as_ref().map(|product| product.id().to_owned()),
            nickname: clean(seen.nickname.as_ref()),
            lookup_key: clean(seen.lookup_key.as_ref()),
            active: seen.active && !seen.deleted,
            currency: seen.currency.clone().unwrap_or_default(),
            unit_amount: seen.unit_amount,
            billing_scheme: seen.billing_scheme.clone(),
            tiers_mode: seen.tiers_mode.clone(),
            interval: recurring.map(|recurring| recurring.interval.clone()),
            interval_count: recurring.map(|recurring| recurring.interval_count),
            usage_type: recurring.and_then(|recurring| recurring.usage_type.clone()),
            tax_behavior: seen.tax_behavior.clone(),
        }
    }
}

/// What is known of a customer's account. A deleted one keeps what was known.
#[derive(AsChangeset)]
#[diesel(table_name = billing_customers, treat_none_as_null = true)]
pub(in crate::features::store) struct CustomerImage {
    pub(in crate::features::store) email: Option<String>,
    pub(in crate::features::store) name: Option<String>,
    pub(in crate::features::store) balance: i64,
    pub(in crate::features::store) currency: Option<String>,
    pub(in crate::features::store) tax_exempt: Option<String>,
    pub(in crate::features::store) tax_ids: Value,
    pub(in crate::features::store) card_brand: Option<String>,
    pub(in crate::features::store) card_last4: Option<String>,
    pub(in crate::features::store) card_exp_month: Option<i32>,
    pub(in crate::features::store) card_exp_year: Option<i32>,
}

impl CustomerImage {
    pub(in crate::features::store) fn of(seen: &stripe::Customer) -> CustomerImage {
        let default = seen
            .invoice_settings
            .as_ref()
            .and_then(|settings| settings.default_payment_method.as_ref());
        let card = default
            .and_then(Expandable::full)
            .and_then(|method| method.card.as_ref());
        let tax_ids = seen.tax_ids.iter().flat_map(|list| &list.data).map(|tax_id| {
            let state = tax_id
                .verification
                .as_ref()
                .and_then(|verification| verification.status.as_ref());
            json!({ "id": tax_id.id, "type": tax_id.kind, "value": tax_id.value, "state": state })
        });
        CustomerImage {
            email: clean(seen.email.as_ref()),
            name: clean(seen.name.as_ref()),
            balance: seen.balance,
            currency: seen.currency.clone(),
            tax_exempt: seen.tax_exempt.clone(),
            tax_ids: tax_ids.collect(),
            card_brand: card.and_then(|card| card.brand.clone()),
            card_last4: card.and_then(|card| card.last4.clone()),
            card_exp_month: card.and_then(|card| card.exp_month),
            card_exp_year: card.and_then(|card| card.exp_year),
        }
    }
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = subscriptions, treat_none_as_null = true)]
pub(in crate::features::store) struct SubscriptionImage {
    pub(in crate::features::store) connection_id: ConnectionId,
    pub(in crate::features::store) customer_id: CustomerId,
    pub(in crate::features::store) stripe_subscription_id: String,
    pub(in crate::features::store) status: String,
    pub(in crate::features::store) currency: Option<String>,
    pub(in crate::features::store) collection_method: Option<String>,
    pub(in crate::features::store) cancel_at_period_end: bool,
    pub(in crate::features::store) cancel_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) canceled_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) ended_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) trial_start: Option<DateTime<Utc>>,
    pub(in crate::features::store) trial_end: Option<DateTime<Utc>>,
    pub(in crate::features::store) pause_behavior: Option<String>,
    pub(in crate::features::store) pause_resumes_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) stripe_schedule_id: Option<String>,
    pub(in crate::features::store) discounts: Value,
    pub(in crate::features::store) default_method: Option<String>,
    pub(in crate::features::store) latest_stripe_invoice_id: Option<String>,
    pub(in crate::features::store) started_at: DateTime<Utc>,
}

impl SubscriptionImage {
    pub(in crate::features::store) fn of(
        connection: ConnectionId,
        customer: CustomerId,
        seen: &stripe::Subscription,
    ) -> SubscriptionImage {
        let pause = seen.pause_collection.as_ref();
        SubscriptionImage {
            connection_id: connection,
            customer_id: customer,
            stripe_subscription_id: seen.id.clone(),
            status: seen.status.clone(),
            currency: seen.currency.clone(),
            collection_method: seen.collection_method.clone(),
            cancel_at_period_end: seen.cancel_at_period_end,
            cancel_at: seen.cancel_at,
            canceled_at: seen.canceled_at,
            ended_at: seen.ended_at,
            trial_start: seen.trial_start,
            trial_end: seen.trial_end,
            pause_behavior: pause.map(|pause| pause.behavior.clone().unwrap_or_default()),
            pause_resumes_at: pause.and_then(|pause| pause.resumes_at),
            stripe_schedule_id: seen.schedule.as_ref().map(|schedule| schedule.id().to_owned()),
            discounts: Value::Array(seen.discounts.clone()),
            default_method: seen
                .default_payment_method
                .as_ref()
                .map(|method| method.id().to_owned()),
            latest_stripe_invoice_id: seen.latest_invoice.as_ref().map(|invoice| invoice.id().to_owned()),
            started_at: seen.created,
        }
    }
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = subscription_items, treat_none_as_null = true)]
pub(in crate::features::store) struct ItemImage {
    pub(in crate::features::store) subscription_id: SubscriptionId,
    pub(in crate::features::store) customer_id: CustomerId,
    pub(in crate::features::store) stripe_item_id: String,
    pub(in crate::features::store) stripe_price_id: String,
    pub(in crate::features::store) quantity: i64,
    pub(in crate::features::store) current_period_start: Option<DateTime<Utc>>,
    pub(in crate::features::store) current_period_end: Option<DateTime<Utc>>,
    pub(in crate::features::store) removed_at: Option<DateTime<Utc>>,
}

impl ItemImage {
    pub(in crate::features::store) fn of(
        owner: SubscriptionId,
        customer: CustomerId,
        seen: &stripe::Subscription,
        item: &stripe::Item,
    ) -> ItemImage {
        let (current_period_start, current_period_end) = seen.period(item);
        ItemImage {
            subscription_id: owner,
            customer_id: customer,
            stripe_item_id: item.id.clone(),
            stripe_price_id: item.price.id.clone(),
            quantity: item.quantity.unwrap_or(1),
            current_period_start,
            current_period_end,
            removed_at: None,
        }
    }
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = invoices, treat_none_as_null = true)]
pub(in crate::features::store) struct InvoiceImage {
    pub(in crate::features::store) connection_id: ConnectionId,
    pub(in crate::features::store) customer_id: CustomerId,
    pub(in crate::features::store) subscription_id: Option<SubscriptionId>,
    pub(in crate::features::store) stripe_invoice_id: String,
    pub(in crate::features::store) number: Option<String>,
    pub(in crate::features::store) status: Option<String>,
    pub(in crate::features::store) currency: String,
    pub(in crate::features::store) amount_due: i64,
    pub(in crate::features::store) amount_paid: i64,
    pub(in crate::features::store) amount_remaining: i64,
    pub(in crate::features::store) subtotal: i64,
    pub(in crate::features::store) tax: i64,
    pub(in crate::features::store) total: i64,
    pub(in crate::features::store) billing_reason: Option<String>,
    pub(in crate::features::store) collection_method: Option<String>,
    pub(in crate::features::store) attempt_count: i64,
    pub(in crate::features::store) next_payment_attempt_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) due_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) paid_at: Option<DateTime<Utc>>,
    pub(in crate::features::store) issued_at: DateTime<Utc>,
}

impl InvoiceImage {
    pub(in crate::features::store) fn of(
        connection: ConnectionId,
        customer: CustomerId,
        subscription: Option<SubscriptionId>,
        seen: &stripe::Invoice,
    ) -> InvoiceImage {
        InvoiceImage {
            connection_id: connection,
            customer_id: customer,
            subscription_id: subscription,
            stripe_invoice_id: seen.id.clone(),
            number: clean(seen.number.as_ref()),
            status: seen.status.clone(),
            currency: seen.currency.clone(),
            amount_due: seen.amount_due,
            amount_paid: seen.amount_paid,
            amount_remaining: seen.amount_remaining,
            subtotal: seen.subtotal,
            tax: seen.total_taxes.iter().map(|tax| tax.amount).sum(),
            total: seen.total,
            billing_reason: seen.billing_reason.clone(),
            collection_method: seen.collection_method.clone(),
            attempt_count: seen.attempt_count,
            next_payment_attempt_at: seen.next_payment_attempt,
            due_at: seen.due_date,
            paid_at: seen.paid_at(),
            issued_at: seen.created,
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = invoice_lines)]
pub(in crate::features::store) struct LineImage {
    pub(in crate::features::store) invoice_id: InvoiceId,
    pub(in crate::features::store) stripe_line_id: String,
    pub(in crate::features::store) customer_id: CustomerId,
    pub(in crate::features::store) place: i32,
    pub(in crate::features::store) description: Option<String>,
    pub(in crate::features::store) amount: i64,
    pub(in crate::features::store) currency: String,
    pub(in crate::features::store) quantity: Option<i64>,
    pub(in crate::features::store) stripe_price_id: Option<String>,
    pub(in crate::features::store) stripe_item_id: Option<String>,
    pub(in crate::features::store) proration: bool,
    pub(in crate::features::store) period_start: DateTime<Utc>,
    pub(in crate::features::store) period_end: DateTime<Utc>,
}

impl LineImage {
    pub(in crate::features::store) fn all(
        invoice: InvoiceId,
        customer: CustomerId,
        seen: &stripe::Invoice,
    ) -> Vec<LineImage> {
        let image = |(place, line): (usize, &stripe::Line)| LineImage {
            invoice_id: invoice,
            stripe_line_id: line.id.clone(),
            customer_id: customer,
            place: place as i32,
            description: clean(line.description.as_ref()),
            amount: line.amount,
            currency: line.currency.clone(),
            quantity: line.quantity,
            stripe_price_id: line.price().map(str::to_owned),
            stripe_item_id: line.item().map(str::to_owned),
            proration: line.is_proration(),
            period_start: line.period.start,
            period_end: line.period.end,
        };
        seen.lines.data.iter().take(LINES_KEPT).enumerate().map(image).collect()
    }
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = payments, treat_none_as_null = true)]
pub(in crate::features::store) struct PaymentImage {
    pub(in crate::features::store) connection_id: ConnectionId,
    pub(in crate::features::store) customer_id: CustomerId,
    pub(in crate::features::store) stripe_payment_intent_id: String,
    pub(in crate::features::store) stripe_charge_id: Option<String>,
    pub(in crate::features::store) status: String,
    pub(in crate::features::store) amount: i64,
    pub(in crate::features::store) amount_received: i64,
    pub(in crate::features::store) amount_refunded: i64,
    pub(in crate::features::store) currency: String,
    pub(in crate::features::store) failure_code: Option<String>,
    pub(in crate::features::store) decline_code: Option<String>,
    pub(in crate::features::store) advice_code: Option<String>,
    pub(in crate::features::store) method_brand: Option<String>,
    pub(in crate::features::store) method_last4: Option<String>,
    pub(in crate::features::store) attempted_at: DateTime<Utc>,
}

impl PaymentImage {
    pub(in crate::features::store) fn of(
        connection: ConnectionId,
        customer: CustomerId,
        seen: &stripe::PaymentIntent,
    ) -> PaymentImage {
        let charge = seen.latest_charge.as_ref().and_then(Expandable::full);
        let card = charge
            .and_then(|charge| charge.payment_method_details.as_ref())
            .and_then(|details| details.card.as_ref());
        let error = seen.last_payment_error.as_ref();
        PaymentImage {
            connection_id: connection,
            customer_id: customer,
            stripe_payment_intent_id: seen.id.clone(),
            stripe_charge_id: seen.latest_charge.as_ref().map(|charge| charge.id().to_owned()),
            status: seen.status.clone(),
            amount: seen.amount,
            amount_received: seen.amount_received,
            amount_refunded: charge.map_or(0, |charge| charge.amount_refunded),
            currency: seen.currency.clone(),
            failure_code: error.and_then(|error| error.code.clone()),
            decline_code: error.and_then(|error| error.decline_code.clone()),
            advice_code: error.and_then(|error| error.advice_code.clone()),
            method_brand: card.and_then(|card| card.brand.clone()),
            method_last4: card.and_then(|card| card.last4.clone()),
            attempted_at: seen.created,
        }
    }
}
