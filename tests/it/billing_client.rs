//! The client in front of Stripe: what it reads, what it repeats, and what it makes of trouble.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeSet, HashMap};
use std::net::TcpListener;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use guildhall::app::dev::stripe::{Fault, KEY, Kind, Purchase, Stub};
use guildhall::kernel::error::{DEPENDENCY_UNAVAILABLE, Error};
use guildhall::kernel::secret::Secret;
use guildhall::kernel::stripe::{
    Account, CURRENCY_MISMATCH, Intent, Invoice, NewCustomer, PAYMENT_DECLINED, PRICE_UNAVAILABLE, Patience, Stripe,
    StripeError, Subscription,
};
use serde_json::{Value, json};

fn stub() -> (Stub, Account) {
    let stub = Stub::new(Arc::new(|| DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap()));
    let (address, server) = stub.serve(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    actix_web::rt::spawn(server);
    let stripe = Stripe::new(Some(&format!("http://{address}"))).unwrap();
    (stub, stripe.account(Secret::new(KEY.to_owned()), Patience::Interactive))
}

fn made(stub: &Stub, path: &str, form: &str) -> String {
    stub.call("POST", path, form).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn price(stub: &Stub) -> String {
    let product = made(stub, "products", "name=Pro");
    let form =
        format!("currency=usd&unit_amount=2900&product={product}&recurring[interval]=month&lookup_key=pro_month");
    made(stub, "prices", &form)
}

fn ada() -> NewCustomer {
    let metadata = HashMap::from([("guildhall_workspace".to_owned(), "wsp_1".to_owned())]);
    NewCustomer {
        name: "Ada & Co".into(),
        email: Some("ada@example.com".into()),
        metadata,
    }
}

/// A peer that answers every request with this.
fn peer(status: u16, body: Value) -> Account {
    let body = body.to_string();
    let server = actix_web::HttpServer::new(move || {
        let body = body.clone();
        actix_web::App::new().default_service(actix_web::web::to(move || {
            let body = body.clone();
            async move { actix_web::HttpResponse::build(status.try_into().unwrap()).body(body) }
        }))
    })
    .workers(1)
    .disable_signals()
    .bind("127.0.0.1:0")
    .unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    Stripe::new(Some(&url))
        .unwrap()
        .account(Secret::new(KEY.to_owned()), Patience::Interactive)
}

#[actix_web::test]
async fn every_object_that_billing_reads_is_read() {
    let (stub, account) = stub();
    let price = price(&stub);
    let bought = stub
        .purchase(&Purchase {
            price: price.clone(),
            quantity: 3,
            ..Purchase::default()
        })
        .unwrap();
    let subscription = account.subscription(bought["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(subscription.status, "active");
    let item = &subscription.items.data[0];
    assert_eq!((item.quantity, item.price.id.as_str()), (Some(3), price.as_str()));
    let (start, end) = subscription.period(item);
    assert!(end.unwrap() > start.unwrap());

    let invoice = account
        .invoice(subscription.latest_invoice.as_ref().unwrap().id())
        .await
        .unwrap();
    assert!(invoice.is_paid() && invoice.paid_at().is_some());
    assert_eq!(invoice.subscription(), Some(subscription.id.as_str()));
    let line = &invoice.lines.data[0];
    assert_eq!(
        (line.amount, line.price(), line.item()),
        (8_700, Some(price.as_str()), Some(item.id.as_str()))
    );
    assert!(!line.is_proration());

    let payment = &invoice.payments.as_ref().unwrap().data[0];
    let with = account.invoice_payment(&payment.id).await.unwrap().payment.unwrap();
    let intent = account.payment_intent(with.payment_intent.unwrap().id()).await.unwrap();
    let charge = account.charge(intent.latest_charge.unwrap().id()).await.unwrap();
    assert_eq!(
        charge.payment_method_details.unwrap().card.unwrap().last4.as_deref(),
        Some("4242")
    );

    let customer = account.customer(subscription.customer.id()).await.unwrap();
    assert!(!customer.deleted);
    let found = account
        .prices(&["pro_month".to_owned(), "other".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
        [price.as_str()]
    );
    assert_eq!(
        account
            .price(&price)
            .await
            .unwrap()
            .product
            .unwrap()
            .full()
            .unwrap()
            .name
            .as_deref(),
        Some("Pro")
    );
    let events = account.events(DateTime::UNIX_EPOCH, None).await.unwrap();
    assert!(events.data.iter().any(|event| event["type"] == "invoice.paid"));
    assert!(account.id().await.unwrap().starts_with("acct_"));
}

#[actix_web::test]
async fn an_invoice_of_many_lines_is_read_to_the_last() {
    let (stub, account) = stub();
    let product = made(&stub, "products", "name=Seat");
    let form = format!("currency=usd&unit_amount=100&product={product}&recurring[interval]=month");
    let items: String = (0..14)
        .map(|n| format!("&items[{n}][price]={}", made(&stub, "prices", &form)))
        .collect();
    let customer = made(&stub, "customers", "payment_method=pm_card_visa");
    let id = made(&stub, "subscriptions", &format!("customer={customer}{items}"));
    let carried = stub.call("GET", &format!("subscriptions/{id}"), "").unwrap();
    assert_eq!(
        carried["items"]["has_more"], true,
        "an answer carries the first of them only"
    );
    let item = carried["items"]["data"][0]["id"].as_str().unwrap();
    let seats = |quantity: usize, behavior: &str| {
        let form = format!("items[0][id]={item}&items[0][quantity]={quantity}&proration_behavior={behavior}");
        stub.call("POST", &format!("subscriptions/{id}"), &form).unwrap()
    };
    (2..112).for_each(|quantity| drop(seats(quantity, "create_prorations")));
    seats(112, "always_invoice");

    let subscription = account.subscription(&id).await.unwrap();
    let ids = |list: &mut dyn Iterator<Item = &String>| list.collect::<BTreeSet<_>>().len();
    assert_eq!(ids(&mut subscription.items.data.iter().map(|item| &item.id)), 14);
    let latest = subscription.latest_invoice.unwrap();
    let lines = &latest.full().unwrap().lines;
    assert!(!lines.has_more);
    assert_eq!(ids(&mut lines.data.iter().map(|line| &line.id)), 222);
    assert_eq!(account.invoice(latest.id()).await.unwrap().lines.data.len(), 222);
}

#[actix_web::test]
async fn a_list_that_promises_more_and_gives_nothing_is_no_list() {
    let empty = json!({
        "id": "in_1", "currency": "usd", "amount_due": 1, "amount_paid": 1, "amount_remaining": 0, "subtotal": 1, "total": 1,
        "created": 1, "lines": { "data": [], "has_more": true }, "data": [], "has_more": true });
    let error = peer(200, empty).invoice("in_1").await.unwrap_err();
    assert!(matches!(error, StripeError::Unreadable(_)), "{error:?}");
}

#[actix_web::test]
async fn an_effect_is_had_once_whatever_happens_to_its_answer() {
    let (stub, account) = stub();
    for (row, kind) in [
        Kind::RefusedAfter(500),
        Kind::Garbled,
        Kind::Cut,
        Kind::RefusedBefore(429),
    ]
    .into_iter()
    .enumerate()
    {
        stub.inject(Fault {
            path: "customers".into(),
            method: "POST".into(),
            times: 1,
            kind: kind.clone(),
        });
        let intent = Intent::new("con_1", "customer", row);
        let first = account.create_customer(&intent, &ada()).await.unwrap();
        let again = account.create_customer(&intent, &ada()).await.unwrap();
        assert_eq!(first.id, again.id, "{kind:?}");
        assert_eq!(first.metadata["guildhall_workspace"], "wsp_1");
    }
    assert_eq!(
        stub.call("GET", "customers", "").unwrap()["data"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[actix_web::test]
async fn trouble_that_stays_is_told() {
    let (stub, account) = stub();
    stub.inject(Fault {
        path: "subscriptions".into(),
        method: String::new(),
        times: 9,
        kind: Kind::RefusedBefore(503),
    });
    assert_eq!(account.subscription("sub_1").await.unwrap_err(), StripeError::Away);
    assert_eq!(account.customer("cus_unknown").await.unwrap_err(), StripeError::Missing);
    assert_eq!(account.customer("../account").await.unwrap_err(), StripeError::Missing);
    stub.inject(Fault {
        path: "prices".into(),
        method: String::new(),
        times: 1,
        kind: Kind::RefusedBefore(403),
    });
    let denied = account.price("price_1").await.unwrap_err();
    assert!(matches!(denied, StripeError::Denied(_)));
    assert!(Error::from(denied).is(DEPENDENCY_UNAVAILABLE));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stripe = Stripe::new(Some(&format!("http://{nobody}"))).unwrap();
    let account = stripe.account(Secret::new(KEY.to_owned()), Patience::Interactive);
    assert_eq!(account.customer("cus_1").await.unwrap_err(), StripeError::Away);
}

#[actix_web::test]
async fn a_refusal_becomes_ours() {
    let refused = |status, error: Value| async move {
        let error = peer(status, json!({ "error": error }))
            .create_customer(&Intent::new("con_1", "customer", 1), &ada())
            .await;
        Error::from(error.unwrap_err())
    };
    let declined = json!({ "type": "card_error", "code": "card_declined", "decline_code": "lost_card" });
    assert!(refused(402, declined).await.is(PAYMENT_DECLINED));
    let price = json!({ "type": "invalid_request_error", "code": "resource_missing", "param": "items[0][price]" });
    assert!(refused(400, price).await.is(PRICE_UNAVAILABLE));
    let currency = json!({ "type": "invalid_request_error",
        "message": "You cannot combine currencies on a single customer. This customer has items in eur." });
    assert!(refused(400, currency).await.is(CURRENCY_MISMATCH));
}

#[actix_web::test]
async fn an_answer_without_a_field_that_we_need_is_an_error_that_names_it() {
    let broken = peer(
        200,
        json!({ "id": "sub_1", "status": "active", "created": 1, "items": { "data": [] } }),
    );
    let StripeError::Unreadable(text) = broken.subscription("sub_1").await.unwrap_err() else {
        panic!("read")
    };
    assert!(text.contains("customer"), "{text}");
}

#[test]
fn shapes_of_older_versions_and_words_not_known_yet_are_read() {
    let subscription: Subscription = serde_json::from_value(json!({
        "id": "sub_1", "customer": "cus_1", "status": "hibernating", "created": 1_700_000_000, "surprise": {},
        "current_period_start": 1_700_000_000, "current_period_end": 1_702_592_000,
        "items": { "object": "list", "data": [{ "id": "si_1", "price": { "id": "price_1" }, "quantity": 1 }] },
        "latest_invoice": "in_1" }))
    .unwrap();
    let (_, end) = subscription.period(&subscription.items.data[0]);
    assert_eq!(end.unwrap().timestamp(), 1_702_592_000);
    assert_eq!(subscription.status, "hibernating");

    let invoice: Invoice = serde_json::from_value(json!({
        "id": "in_1", "customer": "cus_1", "status": "paid", "currency": "usd", "amount_due": 1, "amount_paid": 1,
        "amount_remaining": 0, "subtotal": 1, "total": 1, "created": 1_700_000_000, "subscription": "sub_1", "tax": 0,
        "lines": { "data": [{ "id": "il_1", "amount": 1, "currency": "usd", "proration": true, "price": { "id": "price_1" },
            "subscription_item": "si_1", "period": { "start": 1, "end": 2 } }] } }))
    .unwrap();
    assert_eq!(invoice.subscription(), Some("sub_1"));
    let line = &invoice.lines.data[0];
    assert_eq!(
        (line.price(), line.item(), line.is_proration()),
        (Some("price_1"), Some("si_1"), true)
    );
}
