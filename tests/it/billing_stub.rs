//! The Stripe of the tests is only worth something if it answers what Stripe would: every answer that billing reads is
//! decoded here by the types of async-stripe, which know the pinned version to the last field.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use guildhall::app::dev::stripe::{API_VERSION, Fault, KEY, Kind, Order, Purchase, Schedule, Stub};
use serde_json::{Value, json};
use stripe::StripeRequest;
use stripe_billing::invoice::{ListInvoice, RetrieveInvoice};
use stripe_billing::invoice_payment::ListInvoicePayment;
use stripe_billing::subscription::{ListSubscription, RetrieveSubscription};
use stripe_core::charge::ListCharge;
use stripe_core::customer::{CreateCustomer, ListCustomer, RetrieveCustomer};
use stripe_core::event::{ListEvent, RetrieveEvent};
use stripe_core::payment_intent::ListPaymentIntent;
use stripe_product::price::{ListPrice, RetrievePrice};
use stripe_product::product::{CreateProduct, ListProduct};

struct Account {
    stub: Stub,
    client: stripe::Client,
    second: Arc<AtomicI64>,
    url: String,
}

/// A stub at a fixed second, and async-stripe's own client in front of it.
fn account() -> Account {
    let second = Arc::new(AtomicI64::new(1_800_000_000));
    let hand = second.clone();
    let stub = Stub::new(Arc::new(move || {
        DateTime::<Utc>::from_timestamp(hand.load(Ordering::SeqCst), 0).unwrap()
    }));
    let (address, server) = stub.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    actix_web::rt::spawn(server);
    let url = format!("http://{address}/");
    let client = stripe::ClientBuilder::new(KEY).url(&url).build().unwrap();
    Account {
        stub,
        client,
        second,
        url,
    }
}

impl Account {
    async fn price(&self, amount: i64) -> String {
        let product = CreateProduct::new("Pro").send(&self.client).await.unwrap();
        let form = format!(
            "currency=usd&unit_amount={amount}&product={}&recurring[interval]=month",
            product.id
        );
        self.stub.call("POST", "prices", &form).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn buy(&self, price: &str, card: &str) -> Value {
        let purchase = Purchase {
            price: price.to_owned(),
            card: Some(card.to_owned()),
            ..Purchase::default()
        };
        self.stub.purchase(&purchase).unwrap()
    }

    fn pass(&self, days: i64) {
        self.second.fetch_add(days * 86_400, Ordering::SeqCst);
    }

    fn subscription(&self, id: &str) -> Value {
        self.stub.call("GET", &format!("subscriptions/{id}"), "").unwrap()
    }
}

#[actix_web::test]
async fn every_answer_is_what_async_stripe_expects() {
    let account = account();
    let client = &account.client;
    let price = account.price(2_900).await;
    RetrievePrice::new(price.as_str())
        .expand(vec!["product".to_owned()])
        .send(client)
        .await
        .unwrap();
    let customer = CreateCustomer::new()
        .email("ada@example.com")
        .send(client)
        .await
        .unwrap();
    RetrieveCustomer::new(&customer.id)
        .expand(vec!["tax_ids".to_owned()])
        .send(client)
        .await
        .unwrap();

    for card in [
        "pm_card_visa",
        "pm_card_chargeCustomerFail",
        "pm_card_authenticationRequired",
    ] {
        let id = account.buy(&price, card)["id"].as_str().unwrap().to_owned();
        let expand = vec!["latest_invoice.payments".to_owned(), "customer".to_owned()];
        RetrieveSubscription::new(id.as_str())
            .expand(expand)
            .send(client)
            .await
            .unwrap();
    }
    let invoices = ListInvoice::new()
        .expand(vec!["data.payments".to_owned()])
        .send(client)
        .await
        .unwrap();
    let first = invoices.data[0].id.clone().unwrap();
    RetrieveInvoice::new(first).send(client).await.unwrap();

    ListCustomer::new().send(client).await.unwrap();
    ListProduct::new().send(client).await.unwrap();
    ListPrice::new().send(client).await.unwrap();
    ListSubscription::new().send(client).await.unwrap();
    ListInvoicePayment::new().send(client).await.unwrap();
    ListPaymentIntent::new().send(client).await.unwrap();
    ListCharge::new().send(client).await.unwrap();
    let events = ListEvent::new().limit(100).send(client).await.unwrap();
    assert!(events.data.len() > 20);
    RetrieveEvent::new(events.data[0].id.clone())
        .send(client)
        .await
        .unwrap();
    assert!(
        account.stub.requests().iter().all(|r| r["version"] == API_VERSION),
        "the pinned version is another"
    );
}

#[actix_web::test]
async fn a_refusal_has_stripes_shape() {
    let account = account();
    let missing = RetrieveSubscription::new("sub_nowhere")
        .send(&account.client)
        .await
        .unwrap_err();
    let stripe::StripeError::Stripe(error, 404) = missing else {
        panic!("not Stripe's shape: {missing}")
    };
    assert_eq!(error.param.as_deref(), Some("id"));
    assert_eq!(error.code, Some(stripe::ApiErrorsCode::ResourceMissing));

    let stranger = stripe::ClientBuilder::new("sk_test_other")
        .url(&account.url)
        .build()
        .unwrap();
    let refused = ListCustomer::new().send(&stranger).await.unwrap_err();
    assert!(matches!(refused, stripe::StripeError::Stripe(_, 401)));
    let unknown = account.stub.call("POST", "customers", "emial=typo").unwrap_err();
    assert_eq!(unknown.body["error"]["code"], "parameter_unknown");
}

#[actix_web::test]
async fn an_idempotency_key_repeats_its_first_answer() {
    let account = account();
    let keyed = |name: &str| {
        let key = stripe::IdempotencyKey::new("gld:test:customer:1").unwrap();
        CreateCustomer::new()
            .name(name)
            .customize()
            .request_strategy(stripe::RequestStrategy::Idempotent(key))
    };
    let first = keyed("Ada").send(&account.client).await.unwrap();
    let again = keyed("Ada").send(&account.client).await.unwrap();
    assert_eq!(first.id, again.id);
    let other = keyed("Grace").send(&account.client).await.unwrap_err();
    let stripe::StripeError::Stripe(error, 400) = other else {
        panic!("{other}")
    };
    assert_eq!(error.type_, stripe::ApiErrorsType::IdempotencyError);

    account.pass(2);
    let next_day = keyed("Ada").send(&account.client).await.unwrap();
    assert_ne!(first.id, next_day.id, "keys are forgotten after a day");
}

#[actix_web::test]
async fn a_month_passes_an_invoice_is_drafted_and_paid_an_hour_later() {
    let account = account();
    let price = account.price(2_900).await;
    let bought = account.buy(&price, "pm_card_visa");
    let id = bought["id"].as_str().unwrap();
    assert_eq!(account.subscription(id)["status"], "active");
    let end = account.subscription(id)["items"]["data"][0]["current_period_end"]
        .as_i64()
        .unwrap();

    account.second.store(end + 60, Ordering::SeqCst);
    let turned = account
        .stub
        .call("GET", &format!("subscriptions/{id}"), "expand[]=latest_invoice")
        .unwrap();
    assert_eq!(turned["latest_invoice"]["status"], "draft");
    assert_eq!(turned["status"], "active", "active is not yet money");
    account.second.fetch_add(3_600, Ordering::SeqCst);
    let paid = account
        .stub
        .call(
            "GET",
            &format!("subscriptions/{id}"),
            "expand[]=latest_invoice.payments",
        )
        .unwrap();
    assert_eq!(paid["latest_invoice"]["status"], "paid");
    assert_eq!(paid["latest_invoice"]["payments"]["data"][0]["status"], "paid");
}

#[actix_web::test]
async fn a_card_that_stops_paying_runs_through_dunning() {
    let account = account();
    let price = account.price(2_900).await;
    let bought = account.buy(&price, "pm_card_visa");
    let (id, customer) = (bought["id"].as_str().unwrap(), bought["customer"].as_str().unwrap());
    account
        .stub
        .call(
            "POST",
            &format!("customers/{customer}"),
            "payment_method=pm_card_chargeCustomerFail",
        )
        .unwrap();
    account.pass(32);
    assert_eq!(account.subscription(id)["status"], "past_due");
    account.pass(16);
    assert_eq!(account.subscription(id)["status"], "canceled");
}

#[actix_web::test]
async fn events_arrive_signed_in_any_order_and_again_until_acknowledged() {
    let account = account();
    let heard = Arc::new(std::sync::Mutex::new(Vec::<(String, String)>::new()));
    let ear = heard.clone();
    let receiver = actix_web::HttpServer::new(move || {
        let ear = ear.clone();
        actix_web::App::new().default_service(actix_web::web::to(
            move |request: actix_web::HttpRequest, body: actix_web::web::Bytes| {
                let signature = request
                    .headers()
                    .get("Stripe-Signature")
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                let event: Value = serde_json::from_slice(&body).unwrap();
                let mut heard = ear.lock().unwrap();
                heard.push((event["type"].as_str().unwrap().to_owned(), signature));
                // The very first delivery is refused, so that it must come again.
                let status = if heard.len() == 1 { 500 } else { 200 };
                async move { actix_web::HttpResponse::build(status.try_into().unwrap()).finish() }
            },
        ))
    })
    .workers(1)
    .disable_signals()
    .bind("127.0.0.1:0")
    .unwrap();
    let url = format!("http://{}/hook", receiver.addrs()[0]);
    actix_web::rt::spawn(receiver.run());
    let endpoint = account.stub.listen(&url, "whsec_one");
    account.stub.roll(&endpoint, Some("whsec_two".to_owned())).unwrap();

    let price = account.price(2_900).await;
    account.buy(&price, "pm_card_visa");
    let pending = account.stub.pending();
    let reversed = Schedule {
        extra_copies: 1,
        order: Order::Reversed,
        ..Schedule::default()
    };
    let results = account.stub.deliver(&reversed).await;
    assert_eq!(results.len(), pending * 2);
    assert_eq!(account.stub.pending(), 1);
    let heard = heard.lock().unwrap().clone();
    assert!(heard.iter().all(|(_, signature)| signature.matches("v1=").count() == 2));
    assert!(heard.iter().any(|(kind, _)| kind == "invoice.paid"));
}

#[actix_web::test]
async fn trouble_comes_when_it_is_asked_for() {
    let account = account();
    let fault = |kind| Fault {
        path: "customers".into(),
        method: "POST".into(),
        times: 1,
        kind,
    };
    account.stub.inject(fault(Kind::RefusedAfter(500)));
    let key = stripe::IdempotencyKey::new("gld:test:customer:2").unwrap();
    let strategy = stripe::RequestStrategy::Idempotent(key);
    let create = || CreateCustomer::new().customize().request_strategy(strategy.clone());
    create().send(&account.client).await.unwrap_err();
    create().send(&account.client).await.unwrap();
    let made = account.stub.call("GET", "customers", "").unwrap();
    assert_eq!(
        made["data"].as_array().unwrap().len(),
        1,
        "what was done before the 500 is not done again"
    );

    account.stub.inject(fault(Kind::Cut));
    CreateCustomer::new().send(&account.client).await.unwrap_err();
    account.stub.inject(fault(Kind::Garbled));
    CreateCustomer::new().send(&account.client).await.unwrap_err();
    account.stub.inject(fault(Kind::RefusedBefore(429)));
    let limited = CreateCustomer::new().send(&account.client).await.unwrap_err();
    assert!(matches!(limited, stripe::StripeError::Stripe(_, 429)));
}

#[actix_web::test]
async fn a_kept_account_outlives_its_process() {
    let file = std::env::temp_dir().join(format!("stub-{}.json", uuid::Uuid::new_v4()));
    let clock: guildhall::app::dev::stripe::Now =
        Arc::new(|| DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap());
    let id = {
        let stub = Stub::kept(clock.clone(), file.clone()).unwrap();
        stub.call("POST", "customers", "email=ada@example.com").unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let stub = Stub::kept(clock, file.clone()).unwrap();
    let found = stub.call("GET", &format!("customers/{id}"), "").unwrap();
    assert_eq!(found["email"], json!("ada@example.com"));
    // It holds a secret, and is put in its place whole.
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!file.with_extension("new").exists());
    std::fs::remove_file(file).unwrap();
}
