use super::*;
use crate::kernel::id::Id;

#[test]
fn a_subscription_without_an_item_that_was_paid_for_may_be_outdated() {
    let read = |text: &str| serde_json::from_str(text).expect("an object");
    let subscription: Subscription = serde_json::from_str(
        r#"{ "id": "sub_1", "customer": "cus_1", "status": "active", "created": 1, "items": { "data": [
             { "id": "si_1", "price": { "id": "price_1" } } ] } }"#,
    )
    .expect("a subscription");
    let invoice = |item: &str, proration: bool| -> Invoice {
        read(&format!(
            r#"{{ "id": "in_1", "currency": "usd", "amount_due": 1, "amount_paid": 1, "amount_remaining": 0, "subtotal": 1,
                 "total": 1, "created": 1, "subscription": "sub_1", "lines": {{ "data": [ {{ "id": "il_1", "amount": 1,
                 "currency": "usd", "period": {{ "start": 1, "end": 2 }}, "subscription_item": "{item}",
                 "proration": {proration} }} ] }} }}"#
        ))
    };
    let outdated = |invoice: Invoice| {
        let mut picture = Picture::default();
        picture.subscriptions.insert("sub_1".to_owned(), subscription.clone());
        picture.invoices.insert("in_1".to_owned(), invoice);
        picture.outdated().len()
    };
    let (known, other, change) = (invoice("si_1", false), invoice("si_2", false), invoice("si_2", true));
    assert_eq!([outdated(known), outdated(other), outdated(change)], [0, 1, 0]);
}

#[test]
fn each_event_says_where_to_look() {
    let at = |kind: &str, object: &str, lane: &str| {
        let event = Waiting {
            id: Id::nil(),
            kind: kind.into(),
            object_kind: None,
            object_id: Some(object.into()),
            attempts: 0,
            put_off: 0,
            lost: false,
        };
        target(&event, lane)
    };
    assert_eq!(
        at("customer.subscription.deleted", "sub_1", "cus_1"),
        Some(Target::Subscription("sub_1".into()))
    );
    assert_eq!(
        at("invoice.payment_failed", "in_1", "cus_1"),
        Some(Target::Invoice("in_1".into()))
    );
    assert_eq!(
        at("customer.updated", "cus_1", "cus_1"),
        Some(Target::Customer("cus_1".into()))
    );
    assert_eq!(
        at("customer.tax_id.updated", "txi_1", "cus_1"),
        Some(Target::Customer("cus_1".into()))
    );
    assert_eq!(at("payment_method.detached", "pm_1", "pm_1"), None);
    assert_eq!(at("customer.discount.created", "di_1", "cus_1"), None);
    assert_eq!(
        at("charge.failed", "ch_1", "cus_1"),
        Some(Target::Charge("ch_1".into()))
    );
    assert_eq!(
        at("price.updated", "price_1", "price_1"),
        Some(Target::Price("price_1".into()))
    );
}
