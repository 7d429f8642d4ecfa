//! What is for sale, what Stripe says of it, and what was decided (class tenant), as the migrations lay them out. A table of
//! `(workspace_id, id)` is found by `id` here: row-level security adds the workspace.

diesel::table! {
    use diesel::sql_types::*;
    /// What is for sale.
    offers (id) {
        id -> Uuid,
        code -> Text,
        name -> Text,
        policy_id -> Uuid,
        kind -> Text,
        line -> Text,
        rank -> Integer,
        public -> Bool,
        trial_days -> Integer,
        seats -> Text,
        features -> Jsonb,
        lookup_keys -> Array<Text>,
        quantity_as -> Text,
        on_cancel -> Text,
        archived_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What it costs, as Stripe has it.
    prices (id) {
        id -> Uuid,
        connection_id -> Uuid,
        stripe_price_id -> Text,
        stripe_product_id -> Nullable<Text>,
        product_name -> Nullable<Text>,
        nickname -> Nullable<Text>,
        lookup_key -> Nullable<Text>,
        active -> Bool,
        currency -> Text,
        unit_amount -> Nullable<BigInt>,
        billing_scheme -> Nullable<Text>,
        tiers -> Nullable<Jsonb>,
        tiers_mode -> Nullable<Text>,
        interval -> Nullable<Text>,
        interval_count -> Nullable<BigInt>,
        usage_type -> Nullable<Text>,
        tax_behavior -> Nullable<Text>,
        deleted_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Which price sells which offer.
    offer_prices (price_id) {
        price_id -> Uuid,
        offer_id -> Uuid,
        quantity_as -> Text,
        on_cancel -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Customers as Stripe knows them.
    billing_customers (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        stripe_customer_id -> Nullable<Text>,
        email -> Nullable<Text>,
        name -> Nullable<Text>,
        balance -> BigInt,
        currency -> Nullable<Text>,
        tax_exempt -> Nullable<Text>,
        tax_ids -> Jsonb,
        card_brand -> Nullable<Text>,
        card_last4 -> Nullable<Text>,
        card_exp_month -> Nullable<Integer>,
        card_exp_year -> Nullable<Integer>,
        deleted_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Purchases that were begun.
    checkouts (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        line -> Text,
        mode -> Text,
        items -> Jsonb,
        promotion_code -> Nullable<Text>,
        success_url -> Text,
        cancel_url -> Text,
        stripe_session_id -> Nullable<Text>,
        url_sealed -> Nullable<Binary>,
        state -> Text,
        expires_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Subscriptions as Stripe has them.
    subscriptions (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        stripe_subscription_id -> Text,
        status -> Text,
        currency -> Nullable<Text>,
        collection_method -> Nullable<Text>,
        cancel_at_period_end -> Bool,
        cancel_at -> Nullable<Timestamptz>,
        canceled_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        trial_start -> Nullable<Timestamptz>,
        trial_end -> Nullable<Timestamptz>,
        pause_behavior -> Nullable<Text>,
        pause_resumes_at -> Nullable<Timestamptz>,
        stripe_schedule_id -> Nullable<Text>,
        discounts -> Jsonb,
        default_method -> Nullable<Text>,
        latest_stripe_invoice_id -> Nullable<Text>,
        started_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What they buy.
    subscription_items (id) {
        id -> Uuid,
        subscription_id -> Uuid,
        customer_id -> Uuid,
        stripe_item_id -> Text,
        stripe_price_id -> Text,
        quantity -> BigInt,
        current_period_start -> Nullable<Timestamptz>,
        current_period_end -> Nullable<Timestamptz>,
        license_id -> Nullable<Uuid>,
        removed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Which subscription drives the licence of a line.
    subscription_slots (connection_id, customer_id, line) {
        connection_id -> Uuid,
        customer_id -> Uuid,
        line -> Text,
        subscription_id -> Uuid,
        taken_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Invoices as Stripe has them.
    invoices (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        subscription_id -> Nullable<Uuid>,
        stripe_invoice_id -> Text,
        number -> Nullable<Text>,
        status -> Nullable<Text>,
        currency -> Text,
        amount_due -> BigInt,
        amount_paid -> BigInt,
        amount_remaining -> BigInt,
        subtotal -> BigInt,
        tax -> BigInt,
        total -> BigInt,
        billing_reason -> Nullable<Text>,
        collection_method -> Nullable<Text>,
        attempt_count -> BigInt,
        next_payment_attempt_at -> Nullable<Timestamptz>,
        due_at -> Nullable<Timestamptz>,
        paid_at -> Nullable<Timestamptz>,
        issued_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// What they bill.
    invoice_lines (invoice_id, stripe_line_id) {
        invoice_id -> Uuid,
        stripe_line_id -> Text,
        customer_id -> Uuid,
        place -> Integer,
        description -> Nullable<Text>,
        amount -> BigInt,
        currency -> Text,
        quantity -> Nullable<BigInt>,
        stripe_price_id -> Nullable<Text>,
        stripe_item_id -> Nullable<Text>,
        proration -> Bool,
        period_start -> Timestamptz,
        period_end -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Attempts to collect.
    payments (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        invoice_id -> Nullable<Uuid>,
        stripe_payment_intent_id -> Text,
        stripe_charge_id -> Nullable<Text>,
        status -> Text,
        amount -> BigInt,
        amount_received -> BigInt,
        amount_refunded -> BigInt,
        currency -> Text,
        failure_code -> Nullable<Text>,
        decline_code -> Nullable<Text>,
        advice_code -> Nullable<Text>,
        method_brand -> Nullable<Text>,
        method_last4 -> Nullable<Text>,
        attempted_at -> Timestamptz,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Money given back.
    refunds (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        payment_id -> Uuid,
        stripe_refund_id -> Nullable<Text>,
        amount -> BigInt,
        currency -> Text,
        reason -> Nullable<Text>,
        licenses -> Text,
        status -> Text,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Money taken back.
    disputes (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        payment_id -> Uuid,
        stripe_dispute_id -> Text,
        amount -> BigInt,
        currency -> Text,
        reason -> Nullable<Text>,
        status -> Text,
        evidence_due_at -> Nullable<Timestamptz>,
        opened_at -> Timestamptz,
        closed_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Sales.
    orders (id) {
        id -> Uuid,
        connection_id -> Nullable<Uuid>,
        customer_id -> Uuid,
        source -> Text,
        fulfilment_key -> Text,
        offer_id -> Nullable<Uuid>,
        subscription_id -> Nullable<Uuid>,
        invoice_id -> Nullable<Uuid>,
        stripe_price_id -> Nullable<Text>,
        quantity -> BigInt,
        amount -> BigInt,
        currency -> Text,
        state -> Text,
        held_because -> Nullable<Text>,
        licenses -> Array<Uuid>,
        paid_until -> Nullable<Timestamptz>,
        fulfilled_at -> Nullable<Timestamptz>,
        reversed_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Changes of a subscription that were asked for.
    plan_changes (id) {
        id -> Uuid,
        customer_id -> Uuid,
        subscription_id -> Uuid,
        kind -> Text,
        step -> Integer,
        wanted -> Jsonb,
        state -> Text,
        effective_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Subscriptions for which money is missing.
    dunning_cases (id) {
        id -> Uuid,
        customer_id -> Uuid,
        subscription_id -> Uuid,
        state -> Text,
        opened_at -> Timestamptz,
        restrict_at -> Timestamptz,
        lapse_at -> Timestamptz,
        closed_at -> Nullable<Timestamptz>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    /// Credit given by hand.
    credits (id) {
        id -> Uuid,
        connection_id -> Uuid,
        customer_id -> Uuid,
        amount -> BigInt,
        currency -> Text,
        note -> Text,
        state -> Text,
        stripe_transaction_id -> Nullable<Text>,
        given_by -> Nullable<Uuid>,
        approved_by -> Nullable<Uuid>,
        version -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    offers,
    prices,
    offer_prices,
    billing_customers,
    subscriptions,
    subscription_items,
    subscription_slots,
    invoices,
    invoice_lines,
    payments,
    orders,
    dunning_cases,
);
diesel::joinable!(offer_prices -> offers (offer_id));
diesel::joinable!(offer_prices -> prices (price_id));
diesel::joinable!(subscription_items -> subscriptions (subscription_id));
diesel::joinable!(subscription_slots -> subscriptions (subscription_id));
diesel::joinable!(invoices -> subscriptions (subscription_id));
diesel::joinable!(invoice_lines -> invoices (invoice_id));
