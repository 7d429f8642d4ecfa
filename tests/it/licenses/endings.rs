//! What a licence's end leaves behind, and what a repeated request is told.

use serde_json::json;

use super::Shop;

#[actix_web::test]
async fn who_retries_a_change_by_its_key_is_answered_as_before() {
    let shop = Shop::new().await;
    let licence = shop.licence(json!({})).await;
    let seen = shop.owner.get(&licence.path()).await.ok();
    for (verb, body) in [("suspend", json!({})), ("revoke", json!({ "note": "Refunded." }))] {
        let tag = shop.owner.get(&licence.path()).await.ok().header("etag").to_owned();
        let ask = || {
            let asked = shop.owner.post(&licence.verb(verb), body.clone());
            asked.header("idempotency-key", verb).header("if-match", &tag)
        };
        let (first, again) = (ask().await.ok(), ask().await.ok());
        assert_eq!(
            (first.body, again.header("idempotency-replayed")),
            (again.body.clone(), "true"),
            "{verb}"
        );
        assert_ne!(seen.header("etag"), again.header("etag"), "{verb}");
    }
}

#[actix_web::test]
async fn time_alone_makes_another_answer_of_a_licence_but_no_other_version() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "term_count": 1, "term_unit": "day", "expiring_days": 0 }))
        .await;
    let before = shop.owner.get(&licence.path()).await.ok();
    let tag = before.header("etag").to_owned();
    let again = shop.owner.get(&licence.path()).header("if-none-match", &tag).await;
    assert_eq!(again.status.as_u16(), 304);
    shop.world.clock.advance(chrono::Duration::hours(25));
    let after = shop.owner.get(&licence.path()).header("if-none-match", &tag).await.ok();
    assert_eq!(
        (before.text_at("/status"), after.text_at("/status")),
        ("active".to_owned(), "expired".to_owned())
    );
    assert_eq!(before.body["version"], after.body["version"]);
    let renamed = shop
        .owner
        .patch(&licence.path(), json!({ "name": "Late" }))
        .header("if-match", &tag);
    assert_eq!(renamed.await.ok().body["version"], 2);
}

#[actix_web::test]
async fn every_machine_of_a_revoked_licence_is_told_of_however_many_there_are() {
    let shop = Shop::new().await;
    let licence = shop
        .licence(json!({ "max_machines": null, "heartbeat": "required" }))
        .await;
    let one = shop.activate(&licence, "one").await.created().id();
    let uuid = guildhall::kernel::id::parts(&one).expect("an id").1;
    // Many more, like the one.
    shop.world.admin(&format!(
        "SET search_path = guildhall, public; SET app.reseller = 'none'; SET app.customer = 'none'; \
         INSERT INTO machines (workspace_id, id, license_id, fingerprint_hash, fingerprint_start, uniqueness_scope, heartbeat_due_at) \
         SELECT workspace_id, gen_random_uuid(), license_id, sha256(n::text::bytea), 'x', uniqueness_scope, now() \
         FROM machines, generate_series(1, 449) n WHERE id = '{uuid}'; \
         UPDATE license_counters SET machines = 450 WHERE license_id = '{}'",
        licence.uuid()
    ));
    shop.owner.post(&licence.verb("revoke"), json!({})).await.ok();
    shop.world.run_jobs().await;
    assert_eq!(
        (shop.places(&licence), shop.events("machine.deactivated")),
        ((0, 0), 450)
    );
    let alarmed = shop.world.count(&format!(
        "SELECT count(*) FROM machines WHERE license_id = '{}' AND heartbeat_due_at IS NOT NULL",
        licence.uuid()
    ));
    assert_eq!(alarmed, 0);
}
