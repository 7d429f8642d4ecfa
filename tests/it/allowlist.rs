//! Keys that work from some addresses only.

use serde_json::json;

use crate::{
    identity::{login, someone},
    world::World,
};

#[actix_web::test]
async fn a_key_works_from_where_it_may_and_nowhere_else() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "owner");
    let owner = login(&world, &person).await.caller;
    let listed = json!({ "name": "CI", "ip_allowlist": ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"] });
    let made = owner.post("/api-keys", listed).await.created();
    let caller = world.anonymous().bearer(&made.text_at("/secret"));
    for (from, works) in [
        ("192.0.2.200", true),
        ("::ffff:192.0.2.200", true),
        ("198.51.100.7", true),
        ("2001:db8:7::1", true),
        ("192.0.3.1", false),
        ("198.51.100.8", false),
        ("2001:db9::1", false),
    ] {
        let answer = caller.get("/workspace").header("x-forwarded-for", from).await;
        match works {
            true => answer.ok(),
            false => answer.refused("ip-not-allowed"),
        };
    }
    for wrong in ["here", "192.0.2.0/33", "::ffff:192.0.2.7", "::ffff:192.0.2.0/120"] {
        let new = json!({ "name": "CI", "ip_allowlist": ["192.0.2.7", wrong] });
        owner
            .post("/api-keys", new)
            .await
            .invalid("/ip_allowlist/1", "invalid-format");
    }
}
