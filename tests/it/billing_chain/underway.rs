//! Money that is on its way: invoices that are sent and not yet due, bank debits, and collection that is paused.

use chrono::Duration;
use serde_json::Value;

use super::Shop;

/// A little longer than a period of a month, and than the hour in which its invoice is a draft.
const MONTH: Duration = Duration::hours(31 * 24 + 2);
/// Longer than the day for which what was paid outlasts its period.
const TWO_DAYS: Duration = Duration::days(2);

impl Shop {
    /// The home workspace takes a subscription whose invoices are sent, and due after so many days.
    async fn takes_by_invoice(&self, days: u32) -> Value {
        let customer = self.bill().await["stripe_customer"].as_str().unwrap().to_owned();
        let prices = self
            .stub
            .call("GET", "prices", "lookup_keys[]=guildhall_pro_month")
            .unwrap();
        let price = prices["data"][0]["id"].as_str().unwrap();
        let form =
            format!("customer={customer}&items[0][price]={price}&collection_method=send_invoice&days_until_due={days}");
        let subscription = self.stub.call("POST", "subscriptions", &form).unwrap();
        self.card(&subscription, "pm_card_visa");
        self.passes(Duration::hours(2)).await;
        subscription
    }

    /// Has something done with the latest invoice of a subscription.
    async fn latest_invoice(&self, subscription: &Value, verb: &str) {
        let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
        let seen = self.stub.call("GET", &path, "").unwrap();
        let invoice = seen["latest_invoice"].as_str().unwrap();
        self.stub
            .call("POST", &format!("invoices/{invoice}/{verb}"), "")
            .unwrap();
        self.settles().await;
    }

    fn bridges(&self) -> i64 {
        self.count(
            "license_renewals",
            "(ref LIKE 'open:%' OR ref LIKE 'paused:%') AND reversed_at IS NULL",
        )
    }
}

#[actix_web::test]
async fn who_pays_by_invoice_keeps_the_plan_until_it_is_due() {
    let shop = Shop::open().await;
    let subscription = shop.takes_by_invoice(30).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "active");
    assert_eq!(shop.plan().await, "free", "nothing was paid yet");
    shop.latest_invoice(&subscription, "pay").await;
    assert_eq!((shop.plan().await.as_str(), shop.bridges()), ("pro", 0));

    shop.passes(MONTH).await;
    shop.passes(TWO_DAYS).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "active");
    assert_eq!(shop.stands().await, ["pro", "full", ""]);
    assert_eq!(shop.bridges(), 1);
    shop.passes(Duration::days(20)).await;
    assert_eq!(shop.stands().await, ["pro", "full", ""]);
    shop.latest_invoice(&subscription, "pay").await;
    assert_eq!(
        (shop.plan().await.as_str(), shop.bridges()),
        ("pro", 0),
        "what was paid is in its place"
    );
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);

    // The next one is not paid by its day: from then on it is as if a card had been declined.
    shop.passes(Duration::days(12)).await;
    shop.passes(TWO_DAYS).await;
    assert_eq!((shop.plan().await.as_str(), shop.bridges()), ("pro", 1));
    shop.passes(Duration::days(30)).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "past_due");
    assert_eq!(shop.stands().await, ["pro", "full", "retrying"]);

    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    shop.stub.call("DELETE", &path, "").unwrap();
    shop.settles().await;
    assert_eq!(
        (shop.plan().await.as_str(), shop.bridges()),
        ("free", 0),
        "no access past a cancellation"
    );
    shop.passes(Duration::days(15)).await;
    assert_eq!(
        shop.stands().await[..2],
        ["free", "full"],
        "nor does the patience's end bring any"
    );
}

#[actix_web::test]
async fn an_invoice_that_nobody_is_to_pay_bridges_nothing() {
    let shop = Shop::open().await;
    let subscription = shop.takes_by_invoice(30).await;
    shop.latest_invoice(&subscription, "pay").await;
    shop.passes(MONTH).await;
    shop.passes(TWO_DAYS).await;
    assert_eq!((shop.plan().await.as_str(), shop.bridges()), ("pro", 1));
    shop.latest_invoice(&subscription, "void").await;
    assert_eq!((shop.plan().await.as_str(), shop.bridges()), ("free", 0));
}

#[actix_web::test]
async fn a_bank_debit_that_is_under_way_is_waited_for() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    shop.card(&subscription, "pm_usBankAccount");
    shop.passes(MONTH).await;
    shop.passes(Duration::days(5)).await;
    assert_eq!(shop.bill().await["subscription"]["status"], "active");
    assert_eq!(shop.count("payments", "status = 'processing'"), 1);
    assert_eq!(shop.stands().await, ["pro", "full", ""]);
    shop.latest_invoice(&subscription, "pay").await;
    assert_eq!((shop.plan().await.as_str(), shop.bridges()), ("pro", 0));
    assert_eq!(shop.count("orders", "state = 'fulfilled'"), 2);
}

#[actix_web::test]
async fn who_is_not_asked_for_money_keeps_the_plan() {
    let shop = Shop::open().await;
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let path = format!("subscriptions/{}", subscription["id"].as_str().unwrap());
    shop.stub
        .call("POST", &path, "pause_collection[behavior]=void")
        .unwrap();
    shop.settles().await;
    for _ in 0..2 {
        shop.passes(MONTH).await;
        shop.passes(TWO_DAYS).await;
        assert_eq!(shop.stands().await, ["pro", "full", ""]);
    }
    assert_eq!(shop.count("orders", "true"), 1);

    shop.stub.call("POST", &path, "pause_collection=").unwrap();
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro", "this period is never asked for");
    shop.passes(MONTH).await;
    assert_eq!(
        (shop.plan().await.as_str(), shop.count("orders", "state = 'fulfilled'")),
        ("pro", 2)
    );
    shop.stub.call("DELETE", &path, "").unwrap();
    shop.settles().await;
    assert_eq!((shop.plan().await.as_str(), shop.bridges()), ("free", 0));
}
