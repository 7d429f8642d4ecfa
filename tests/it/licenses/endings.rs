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
