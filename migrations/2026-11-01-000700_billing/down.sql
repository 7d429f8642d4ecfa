DROP TABLE billing_plans, credits, dunning_cases, plan_changes, orders, disputes, refunds, payments, invoice_lines, invoices,
           subscription_slots, subscription_items, subscriptions, checkouts, billing_customers, offer_prices, prices, offers,
           inbox_lanes, inbox_events, stripe_connections;
