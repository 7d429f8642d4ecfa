//! What was paid is delivered, once, however late, and ends when it was paid until.

use chrono::Duration;
use guildhall::app::dev::stripe::Schedule;
use serde_json::Value;

use super::Shop;

impl Shop {
    /// Ends a subscription at Stripe now.
    fn cancels(&self, subscription: &Value) {
        let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
        self.stub.call("DELETE", &path, "").unwrap();
    }

    /// The price at Stripe with this lookup key.
    pub(super) fn price(&self, key: &str) -> String {
        let found = self.stub.call("GET", "prices", &format!("lookup_keys[]={key}"));
        found.unwrap()["data"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A price at Stripe that belongs to no plan.
    pub(super) fn odd_price(&self) -> String {
        let form = "currency=usd&unit_amount=500&recurring[interval]=month&product_data[name]=Odd";
        let made = self.stub.call("POST", "prices", form).unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    /// The buyer's subscription is for another price from now on.
    pub(super) fn changes(&self, subscription: &Value, key: &str) {
        let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
        let form = format!(
            "items[0][id]={item}&items[0][price]={}&proration_behavior=always_invoice",
            self.price(key)
        );
        let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
        self.stub.call("POST", &path, &form).unwrap();
    }
}

#[actix_web::test]
async fn who_paid_for_a_second_subscription_has_it_when_the_first_one_ends() {
    let shop = Shop::open().await;
    let first = shop.buys("guildhall_pro_month");
    shop.settles().await;
    shop.passes(Duration::days(3)).await;
    shop.buys("guildhall_business_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'held' AND held_because = 'duplicate'"), 1);

    shop.cancels(&first);
    shop.settles().await;
    assert_eq!(shop.plan().await, "business");
    assert_eq!(shop.count("orders", "state = 'held'"), 0);
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
}

#[actix_web::test]
async fn a_second_subscription_that_ended_itself_takes_nothing_over() {
    let shop = Shop::open().await;
    let first = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let second = shop.buys("guildhall_business_month");
    shop.settles().await;
    shop.cancels(&second);
    shop.settles().await;
    shop.cancels(&first);
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(
        shop.count("orders", "state = 'held'"),
        1,
        "what was paid and not delivered is the seller's to decide"
    );
}

#[actix_web::test]
async fn a_period_that_is_over_is_delivered_beside_the_present_one() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    // For more than a month nothing arrives; by then the first period is over and the next one is paid.
    shop.passes_unheard(Duration::days(34)).await;
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
    assert_eq!(shop.count("licenses", "true"), 1);
    assert_eq!(shop.count("inbox_events", "attempts > 0 OR state = 'parked'"), 0);
}

#[actix_web::test]
async fn a_period_that_is_over_is_delivered_although_nothing_follows_it() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.cancels(&subscription);
    shop.passes_unheard(Duration::days(34)).await;
    shop.settles().await;
    assert_eq!(shop.plan().await, "free");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    assert_eq!(shop.count("inbox_events", "attempts > 0 OR state = 'parked'"), 0);
}

#[actix_web::test]
async fn a_plan_is_changed_by_another_item_in_the_place_of_the_first_too() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    replaces(&shop, &subscription, "guildhall_business_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "business");
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    shop.passes(Duration::days(3)).await;
    assert_eq!(shop.plan().await, "business", "the next month was paid");
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
}

/// Another item takes the place of a subscription's first one.
fn replaces(shop: &Shop, subscription: &Value, key: &str) {
    let form = format!(
        "items[0][price]={}&items[1][id]={}&items[1][deleted]=true&proration_behavior=always_invoice",
        shop.price(key),
        subscription["items"]["data"][0]["id"].as_str().unwrap()
    );
    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    shop.stub.call("POST", &path, &form).unwrap();
}

#[actix_web::test]
async fn what_was_paid_for_an_item_is_delivered_although_another_took_its_place_before_anybody_looked() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    replaces(&shop, &subscription, "guildhall_business_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "business");
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 1);
    let ends = shop.bill().await["plan"]["sources"][0]["expires_at"].clone();
    let paid_until = shop.bill().await["next_invoice"]["at"].clone();
    assert!(ends.as_str() > paid_until.as_str(), "{ends} {paid_until}");
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    shop.passes(Duration::days(3)).await;
    assert_eq!(shop.plan().await, "business", "the next month was paid");
    assert_eq!(shop.count("licenses", "state = 'active'"), 1);
}

#[actix_web::test]
async fn in_whatever_order_the_invoices_of_two_items_are_seen_they_pay_for_one_licence() {
    for newest_first in [false, true] {
        let shop = Shop::open().await;
        let subscription = shop.buys("guildhall_pro_month");
        replaces(&shop, &subscription, "guildhall_business_month");
        shop.passes_unheard(Duration::days(31) + Duration::hours(2)).await;
        let customer = subscription["customer"].as_str().unwrap();
        let listed = shop.stub.call("GET", "invoices", &format!("customer={customer}"));
        let mut invoices = listed.unwrap()["data"].as_array().unwrap().clone();
        assert_eq!(invoices.len(), 3);
        if !newest_first {
            invoices.reverse();
        }
        shop.stub.forget_deliveries();
        for invoice in invoices {
            shop.sends("invoice.paid", invoice).await;
        }
        shop.passes(Duration::days(3)).await;
        assert_eq!(shop.plan().await, "business", "{newest_first}");
        assert_eq!(shop.count("licenses", "state = 'active'"), 1, "{newest_first}");
        assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2, "{newest_first}");
    }
}

#[actix_web::test]
async fn what_was_paid_beside_a_subscription_waits_for_the_seller() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    let beside = format!(
        "customer={}&subscription={}&amount=5000&currency=usd&description=Training",
        subscription["customer"].as_str().unwrap(),
        subscription["id"].as_str().unwrap()
    );
    shop.stub.call("POST", "invoiceitems", &beside).unwrap();
    let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
    let form = format!("items[0][id]={item}&items[0][quantity]=2&proration_behavior=always_invoice");
    shop.stub.call("POST", &path, &form).unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    let held = "state = 'held' AND held_because = 'no_item' AND source = 'invoice' AND amount = 5000";
    assert_eq!(shop.count("orders", held), 1);
    assert_eq!(shop.count("orders", "true"), 2);
    assert_eq!(shop.count("inbox_events", "state = 'parked'"), 0);
}

#[actix_web::test]
async fn a_renewal_is_delivered_however_much_was_changed_before_it() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
    for quantity in (1..=30).chain((1..30).rev()).chain([1]) {
        let form = format!("items[0][id]={item}&items[0][quantity]={quantity}&proration_behavior=create_prorations");
        shop.stub.call("POST", &path, &form).unwrap();
    }
    shop.settles().await;
    shop.passes(Duration::days(31) + Duration::hours(2)).await;
    shop.passes(Duration::days(2)).await;
    assert_eq!(shop.plan().await, "pro", "the next month was paid");
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
    assert_eq!(
        shop.count("invoice_lines", "true"),
        1 + 100,
        "the mirror keeps the first hundred"
    );
}

#[actix_web::test]
async fn an_order_that_was_held_for_its_price_is_found_when_the_line_is_free() {
    let shop = Shop::open().await;
    let first = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let price = shop.odd_price();
    shop.buys(&price);
    shop.settles().await;
    assert_eq!(shop.count("orders", "held_because = 'unknown_price'"), 1);
    let form = "lookup_key=guildhall_pro_year";
    shop.stub.call("POST", &format!("prices/{price}"), form).unwrap();
    shop.settles().await;
    assert_eq!(shop.count("orders", "held_because = 'duplicate'"), 1);
    shop.cancels(&first);
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("orders", "state = 'held'"), 0);
}

#[actix_web::test]
async fn nothing_of_something_is_no_plan() {
    let shop = Shop::open().await;
    let form = format!(
        "customer={}&items[0][price]={}&items[0][quantity]=0",
        shop.bill().await["stripe_customer"].as_str().unwrap(),
        shop.price("guildhall_pro_month")
    );
    let subscription = shop.stub.call("POST", "subscriptions", &form).unwrap();
    assert_eq!(subscription["status"], "active");
    shop.settles().await;
    assert_eq!(shop.bill().await["subscription"]["status"], "active");
    assert_eq!((shop.plan().await.as_str(), shop.count("orders", "true")), ("free", 0));
}

#[actix_web::test]
async fn what_bridged_missing_money_does_not_outlive_a_change_of_the_price() {
    let shop = Shop::open().await;
    let subscription = shop.falls_behind().await;
    shop.changes(&subscription, "guildhall_business_month");
    shop.settles().await;
    shop.card(&subscription, "pm_card_visa");
    let open = format!("customer={}&status=open", subscription["customer"].as_str().unwrap());
    let open = shop.stub.call("GET", "invoices", &open).unwrap();
    for invoice in open["data"].as_array().unwrap() {
        let path = format!("invoices/{}/pay", invoice["id"].as_str().unwrap());
        shop.stub.call("POST", &path, "").unwrap();
    }
    shop.settles().await;
    assert_eq!(shop.stands().await, ["business", "full", ""]);
    let bridges = "ref LIKE 'dun_%' AND reversed_at IS NULL \
        AND license_id IN (SELECT id FROM guildhall.licenses WHERE state = 'active')";
    assert_eq!(shop.count("license_renewals", bridges), 0);
}

#[actix_web::test]
async fn nothing_outlives_a_cancellation_whatever_the_price_was_before() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    shop.world
        .admin("UPDATE guildhall.offer_prices SET on_cancel = 'period_end'");
    let paid_until = shop.bill().await.pointer("/next_invoice/at").cloned().unwrap();
    shop.changes(&subscription, "guildhall_business_month");
    shop.settles().await;
    assert_eq!(shop.plan().await, "business");
    shop.cancels(&subscription);
    shop.settles().await;
    let bill = shop.bill().await;
    assert_eq!(bill["plan"]["plan"], "business");
    assert_eq!(bill["plan"]["sources"][0]["expires_at"], paid_until);
}

#[actix_web::test]
async fn a_look_at_a_customer_leaves_prices_to_their_own_lanes() {
    let shop = Shop::open().await;
    let price = shop.odd_price();
    shop.buys(&price);
    shop.settles().await;
    let form = "lookup_key=guildhall_pro_year&nickname=Newer";
    shop.stub.call("POST", &format!("prices/{price}"), form).unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    // What the subscription shows of its price is as old as the subscription.
    let newer = format!("stripe_price_id = '{price}' AND nickname = 'Newer' AND lookup_key = 'guildhall_pro_year'");
    assert_eq!(shop.count("prices", &newer), 1);
}

#[actix_web::test]
async fn a_price_that_becomes_known_while_its_order_is_parked_wakes_it() {
    let shop = Shop::open().await;
    let price = shop.odd_price();
    shop.settles().await;
    let now = shop.world.clock.now();
    // Whoever parks an event waits here, its map read and its mark not committed.
    shop.world.admin(
        "CREATE FUNCTION guildhall.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.state = 'parked' THEN
             PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock(4711);
           END IF; RETURN NEW; END $$;
         CREATE TRIGGER wait BEFORE UPDATE ON guildhall.inbox_events FOR EACH ROW EXECUTE FUNCTION guildhall.wait()",
    );
    let mut gate = shop.world.superuser();
    diesel::connection::SimpleConnection::batch_execute(&mut gate, "SELECT pg_advisory_lock(4711)").unwrap();
    shop.buys(&price);
    shop.stub.deliver(&Schedule::default()).await;
    let parking = shop.world.run_jobs();
    let mapping = async {
        let waits =
            "SELECT count(*) AS count FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted";
        until(|| shop.world.count(waits) == 1).await;
        let form = "lookup_key=guildhall_pro_year";
        shop.stub.call("POST", &format!("prices/{price}"), form).unwrap();
        shop.stub.deliver(&Schedule::default()).await;
        let done = std::cell::Cell::new(false);
        let turns = async {
            shop.world.run_jobs().await;
            done.set(true);
        };
        let opens = async {
            // Either all is done that follows from the map, or whoever writes it waits for the order.
            let held = "SELECT count(*) AS count FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0 \
                        AND datname = current_database() AND query LIKE '%prices%'";
            until(|| done.get() || shop.world.count(held) > 0).await;
            drop(gate);
        };
        futures_util::future::join(turns, opens).await;
    };
    futures_util::future::join(parking, mapping).await;
    shop.world
        .admin("DROP TRIGGER wait ON guildhall.inbox_events; DROP FUNCTION guildhall.wait()");
    shop.world.run_jobs().await;
    assert!(shop.world.clock.now() - now < Duration::minutes(1));
    assert_eq!(shop.plan().await, "pro", "{:?}", shop.events());
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    crate::world::patience::until("what is waited for", async || so()).await;
}
