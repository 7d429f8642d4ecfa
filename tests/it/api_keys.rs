//! API keys: what they may do, for how long and from where.

use std::future::IntoFuture;

use serde_json::json;

use crate::{
    identity::together,
    workspaces::{member_of, signed_in},
    world::World,
};

#[actix_web::test]
async fn a_key_does_what_it_was_given_and_no_more() {
    let world = World::new().await;
    let key = world.api_key(["members:read"]);
    key.get("/members").await.ok();
    let refused = key.get("/workspace").await.refused("scope-missing");
    assert_eq!(refused.body["required_permission"], "workspace:read");
    key.with("guildhall-workspace", &world.elsewhere().to_string())
        .get("/members")
        .await
        .refused("workspace-mismatch");
}

#[actix_web::test]
async fn a_key_stops_with_its_person_and_with_their_membership() {
    let world = World::new().await;
    let (owner, user) = (world.owner(), world.person());
    world.join(world.home(), user, "admin");
    let (key, colleague) = (world.caller_with_key(world.home(), user, None), world.member("admin"));
    let becomes = |state: &str| {
        let deleted = if state == "deleted" { "now()" } else { "NULL" };
        let id = user.uuid();
        world.admin(&format!(
            "UPDATE guildhall.users SET state = '{state}', deleted_at = {deleted} WHERE id = '{id}'"
        ));
        world.deployment.doorkeeper.forget_person(user);
    };
    key.get("/workspace").await.ok();
    for (state, works) in [
        ("suspended", false),
        ("deleting", true),
        ("deleted", false),
        ("active", true),
    ] {
        becomes(state);
        match works {
            true => key.get("/workspace").await.ok(),
            false => key.get("/workspace").await.refused("api-key-revoked"),
        };
        assert_eq!(key.get("/me").await.status == 200, works, "{state}");
    }

    let path = format!("/members/{}", member_of(&owner, user).await);
    owner.delete(&path).await.gone();
    key.get("/workspace").await.refused("api-key-revoked");
    world.admin(&format!(
        "UPDATE guildhall.memberships SET state = 'active' WHERE user_id = '{}'",
        user.uuid()
    ));
    world.deployment.doorkeeper.forget_person(user);
    key.get("/workspace").await.refused("api-key-revoked");
    world
        .caller_with_key(world.home(), user, None)
        .get("/workspace")
        .await
        .ok();
    colleague.get("/workspace").await.ok();
    assert_eq!(
        world.audit(),
        ["member.removed by api_key", "api_key.revoked by api_key"]
    );
}

#[actix_web::test]
async fn a_key_works_from_where_it_may_and_nowhere_else() {
    let world = World::new().await;
    let owner = signed_in(&world, "owner").await;
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

#[actix_web::test]
async fn who_keeps_others_keys_ends_them_and_changes_none() {
    let world = World::new().await;
    let (owner, admin) = (signed_in(&world, "owner").await, signed_in(&world, "admin").await);
    let member = signed_in(&world, "member").await;
    let listed = json!({ "name": "CI", "ip_allowlist": ["192.0.2.7"] });
    let path = format!("/api-keys/{}", owner.post("/api-keys", listed).await.created().id());
    let wider = json!({ "ip_allowlist": [] });
    admin.get(&path).await.ok();
    admin.patch(&path, wider.clone()).await.refused("forbidden");
    member.get(&path).await.refused("not-found");
    member.patch(&path, wider.clone()).await.refused("not-found");
    member.delete(&path).await.refused("not-found");
    assert_eq!(owner.get(&path).await.ok().body["ip_allowlist"], json!(["192.0.2.7"]));
    owner.patch(&path, wider).await.ok();
    admin.delete(&path).await.gone();
}

#[actix_web::test]
async fn a_key_that_was_narrowed_may_follow_its_owner_again() {
    let world = World::new().await;
    let owner = signed_in(&world, "owner").await;
    let narrow = json!({ "name": "CI", "permissions": ["members:read"] });
    let made = owner.post("/api-keys", narrow).await.created();
    let (path, key) = (
        format!("/api-keys/{}", made.id()),
        world.anonymous().bearer(&made.text_at("/secret")),
    );
    key.get("/workspace").await.refused("scope-missing");
    let unsaid = owner.patch(&path, json!({ "name": "CI 2" })).await.ok();
    assert_eq!(unsaid.body["permissions"], json!(["members:read"]));
    let wide = owner.patch(&path, json!({ "permissions": null })).await.ok();
    assert!(wide.body["permissions"].is_null());
    key.get("/workspace").await.ok();
}

#[actix_web::test]
async fn a_plan_has_so_many_keys() {
    let world = World::new().await;
    let owner = signed_in(&world, "owner").await;
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET entitlements = entitlements || '{{\"api_keys\": 3}}' WHERE workspace_id = '{}'",
        world.home().uuid()
    ));
    let make = || owner.post("/api-keys", json!({ "name": "CI" }));
    let made = together((0..6).map(|_| make().into_future())).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 3);
    for answer in refused {
        assert_eq!(answer.refused("plan-limit-reached").body["used"], 3);
    }
    owner.delete(&format!("/api-keys/{}", made[0].id())).await.gone();
    make().await.created();
    make().await.refused("plan-limit-reached");
    let many = vec!["agents:read"; 201];
    owner
        .post("/api-keys", json!({ "name": "CI", "permissions": many }))
        .await
        .invalid("/permissions", "too-many");
    owner
        .post(
            "/api-keys",
            json!({ "name": "CI", "permissions": ["agents:read", "agents:read"] }),
        )
        .await
        .invalid("/permissions/1", "not-unique");
}

#[actix_web::test]
async fn the_last_use_of_a_key_is_known_to_the_minute() {
    let world = World::new().await;
    let (owner, user) = (signed_in(&world, "owner").await, world.person());
    world.join(world.home(), user, "member");
    let key = world.caller_with_key(world.home(), user, None);
    let seen = async || {
        world.deployment.doorkeeper.write_sightings().await;
        let keys = owner.get(&format!("/api-keys?owner_id={user}")).await.ok();
        let member = owner
            .get(&format!("/members/{}", member_of(&owner, user).await))
            .await
            .ok();
        (
            keys.body["data"][0]["last_used_at"].clone(),
            member.body["last_active_at"].clone(),
        )
    };
    assert_eq!(seen().await, (json!(null), json!(null)));
    key.get("/workspace").await.ok();
    let first = seen().await;
    assert!(first.0.is_string() && first.1.is_string(), "{first:?}");

    world.clock.advance(chrono::Duration::seconds(50));
    key.get("/workspace").await.ok();
    assert_eq!(seen().await, first, "once a minute");
    world.clock.advance(chrono::Duration::seconds(11));
    key.get("/workspace").await.ok();
    let second = seen().await;
    assert!(
        second.0.as_str() > first.0.as_str() && second.1.as_str() > first.1.as_str(),
        "{second:?}"
    );
    let version = owner.get(&format!("/api-keys?owner_id={user}")).await.ok().body["data"][0]["version"].clone();
    assert_eq!(version, 1, "a sighting is in no ETag's promise");
}

#[actix_web::test]
async fn a_key_knows_its_own_workspace_and_no_other() {
    let world = World::new().await;
    let user = world.person();
    world.join(world.home(), user, "owner");
    world.join(world.elsewhere(), user, "owner");
    for key in [
        world.caller_with_key(world.home(), user, None),
        world.caller_with_key(world.home(), user, Some(&[])),
    ] {
        assert_eq!(
            key.get("/me").await.ok().text_at("/workspace"),
            world.home().to_string()
        );
        for (path, code) in [
            ("/workspaces", "session-required"),
            ("/me/workspaces", "session-required"),
            ("/me/preferences", "session-required"),
        ] {
            let refused = key.get(path).await.refused(code);
            assert!(!refused.text.contains(&world.elsewhere().to_string()));
        }
    }
}
