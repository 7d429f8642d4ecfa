use serde_json::{Value, json};

use super::{login, someone};
use crate::world::{World, patience::until};

#[actix_web::test]
async fn a_person_sees_themselves_and_changes_what_others_see() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "viewer");
    let session = login(&world, &person).await;
    let before = session.caller.get("/me").await.ok();
    assert_eq!(before.body["type"], "user");
    assert_eq!(before.text_at("/platform_role"), "user");
    assert_eq!(before.text_at("/workspace"), world.home().to_string());
    assert!(before.body["has_password"] == true && before.body["impersonated_by"].is_null());

    let tag = before.header("etag").to_owned();
    let change = json!({ "display_name": "  Ann\u{308} Lee ", "username": "ann_lee", "time_zone": "Europe/Berlin", "locale": "de" });
    let after = session.caller.patch("/me", change).header("if-match", &tag).await.ok();
    assert_eq!(
        after.text_at("/display_name"),
        "An\u{308}n Lee"
            .replace("n\u{308}n", "n\u{308}")
            .replace("An\u{308}", "Ann\u{308}")
    );
    assert_eq!(after.text_at("/username"), "ann_lee");
    session
        .caller
        .patch("/me", json!({ "locale": "en" }))
        .header("if-match", &tag)
        .await
        .refused("version-mismatch");
    assert_eq!(
        world.count("SELECT count(*) FROM guildhall.memberships WHERE display_name = (SELECT display_name FROM guildhall.users WHERE username = 'ann_lee')"),
        1
    );
    let without = session.caller.patch("/me", json!({ "username": null })).await.ok();
    assert!(without.body["username"].is_null());

    for (change, pointer, code) in [
        (json!({ "display_name": "" }), "/display_name", "required"),
        (
            json!({ "display_name": "Ann\r\nBcc: eve@evil.example" }),
            "/display_name",
            "invalid-characters",
        ),
        (json!({ "username": "A" }), "/username", "too-short"),
        (json!({ "username": "root" }), "/username", "not-unique"),
        (
            json!({ "avatar_url": "javascript:alert(1)" }),
            "/avatar_url",
            "invalid-format",
        ),
        (json!({ "locale": "english" }), "/locale", "invalid-format"),
        (json!({ "time_zone": "../etc" }), "/time_zone", "invalid-format"),
        (json!({ "email": "eve@evil.example" }), "/email", "unknown-field"),
        (json!({ "state": "active" }), "/state", "unknown-field"),
    ] {
        session.caller.patch("/me", change).await.invalid(pointer, code);
    }
}

#[actix_web::test]
async fn a_name_that_somebody_has_is_taken() {
    let world = World::new().await;
    let (one, other) = (
        login(&world, &someone(&world).await).await,
        login(&world, &someone(&world).await).await,
    );
    one.caller.patch("/me", json!({ "username": "ann" })).await.ok();
    other
        .caller
        .patch("/me", json!({ "username": "ann" }))
        .await
        .refused("username-taken");
    one.caller.patch("/me", json!({ "username": null })).await.ok();
    other.caller.patch("/me", json!({ "username": "ann" })).await.ok();
}

#[actix_web::test]
async fn preferences_are_merged_and_bounded() {
    let world = World::new().await;
    let person = someone(&world).await;
    let session = login(&world, &person).await;
    let usual = session.caller.get("/me/preferences").await.ok();
    assert_eq!(
        (usual.text_at("/theme"), &usual.body["app"]),
        ("system".to_owned(), &json!({}))
    );

    let notices = json!({ "runs": { "email": false, "in_app": true, "digest": true } });
    let change = json!({ "theme": "dark", "notifications": notices, "app": { "panel": { "open": true }, "tour": 1 } });
    let changed = session.caller.patch("/me/preferences", change).await.ok();
    assert_eq!(changed.text_at("/theme"), "dark");
    let again = json!({ "app": { "tour": null, "panel": { "width": 3 } } });
    let merged = session
        .caller
        .patch("/me/preferences", again)
        .header("if-match", changed.header("etag"))
        .await
        .ok();
    assert_eq!(merged.body["app"], json!({ "panel": { "open": true, "width": 3 } }));
    assert_eq!(merged.body["notifications"], notices);
    assert_eq!(session.caller.get("/me/preferences").await.ok().body, merged.body);

    for (change, notifications) in [
        (
            json!({ "runs": { "email": null }, "billing": { "digest": false } }),
            json!({ "runs": { "email": true, "in_app": true, "digest": true },
                    "billing": { "email": true, "in_app": true, "digest": false } }),
        ),
        (
            json!({ "runs": null }),
            json!({ "billing": { "email": true, "in_app": true, "digest": false } }),
        ),
        (Value::Null, json!({})),
    ] {
        let change = json!({ "notifications": change });
        let changed = session.caller.patch("/me/preferences", change).await.ok();
        assert_eq!(changed.body["notifications"], notifications);
    }
    let cleared = session.caller.patch("/me/preferences", json!({ "app": null })).await;
    assert_eq!(cleared.ok().body["app"], json!({}));

    let other = world.elsewhere().to_string();
    for (change, pointer, code) in [
        (json!({ "app": { "big": "x".repeat(17_000) } }), "/app", "too-large"),
        (json!({ "theme": "pink" }), "/theme", "invalid-choice"),
        (
            json!({ "notifications": { "security": { "email": false, "in_app": false, "digest": false } } }),
            "/notifications/security",
            "invalid-choice",
        ),
        (
            json!({ "default_workspace_id": other }),
            "/default_workspace_id",
            "not-found",
        ),
        (json!({ "colour": "red" }), "/colour", "unknown-field"),
    ] {
        session
            .caller
            .patch("/me/preferences", change)
            .await
            .invalid(pointer, code);
    }
    world.join(world.elsewhere(), person.user, "viewer");
    let there = session
        .caller
        .patch("/me/preferences", json!({ "default_workspace_id": other }))
        .await
        .ok();
    assert_eq!(there.text_at("/default_workspace_id"), other);
}

#[actix_web::test]
async fn permissions_are_those_of_the_workspace_that_is_named() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "viewer");
    world.join(world.elsewhere(), person.user, "owner");
    let session = login(&world, &person).await;
    session
        .caller
        .get("/me/permissions")
        .await
        .refused("workspace-required");
    let of = |workspace: String| session.caller.with("guildhall-workspace", &workspace);
    let viewer = of(world.home().to_string()).get("/me/permissions").await.ok();
    let owner = of(world.elsewhere().to_string()).get("/me/permissions").await.ok();
    let has = |answer: &crate::world::Answer, name: &str| {
        answer.body["permissions"]
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)))
    };
    assert!(has(&viewer, "agents:read") && !has(&viewer, "agents:write"));
    assert!(has(&owner, "workspace:delete") && !has(&owner, "platform:impersonate"));

    let listed = session.caller.get("/me/workspaces").await.ok();
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(2));
    let narrow = world.api_key(["runs:read"]).get("/me/permissions").await.ok();
    assert_eq!(narrow.body["permissions"], json!(["runs:read"]));
}

#[actix_web::test]
async fn whoever_names_a_workspace_that_is_not_theirs_is_told_so_and_not_shown_themselves_without_one() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "viewer");
    let session = login(&world, &person).await;
    let me = |named: &str| session.caller.with("guildhall-workspace", named);
    let home = world.home().to_string();
    assert_eq!(me(&home).get("/me").await.ok().text_at("/workspace"), home);
    let change = json!({ "display_name": "Ann" });
    for named in [
        &world.elsewhere().to_string(),
        "nowhere-at-all",
        "wsp_01jd8qv4x2fkr9s3m5n7p0t1wz",
        "",
    ] {
        me(named).get("/me").await.refused("not-found");
        me(named).patch("/me", change.clone()).await.refused("not-found");
        for path in ["/me?zzz=1", "/me/permissions?zzz=1"] {
            me(named).get(path).await.refused("not-found");
        }
    }
    me(&home).get("/me?zzz=1").await.refused("unknown-parameter");
    me(&home)
        .patch("/me?zzz=1", change.clone())
        .await
        .refused("unknown-parameter");
    // One that is suspended is still theirs, however it is asked for.
    let home_id = world.home().uuid();
    world.admin(&format!(
        "UPDATE guildhall.workspaces SET state = 'suspended' WHERE id = '{home_id}'"
    ));
    let session = login(&world, &person).await;
    let is_refused = async || session.caller.get("/me/permissions").await.status == 403;
    until("the suspension is heard of", is_refused).await;
    for path in ["/me/permissions", "/me/permissions?zzz=1"] {
        session.caller.get(path).await.refused("workspace-suspended");
    }
    let seen = session.caller.get("/me").await.ok();
    assert_eq!(seen.text_at("/workspace"), home);
    let changed = session
        .caller
        .patch("/me", change)
        .header("if-match", seen.header("etag"));
    assert_eq!(changed.await.ok().text_at("/workspace"), home);
    // Where they name none and two can be meant, who they are is not kept from them.
    let busy = someone(&world).await;
    world.join(world.home(), busy.user, "viewer");
    world.join(world.elsewhere(), busy.user, "viewer");
    let session = login(&world, &busy).await;
    assert!(session.caller.get("/me").await.ok().body["workspace"].is_null());
}

#[actix_web::test]
async fn the_operators_staff_is_known_by_its_membership() {
    let world = World::new().await;
    let platform = guildhall::kernel::workspaces::PLATFORM;
    let (admin, member) = (someone(&world).await, someone(&world).await);
    world.join(platform, admin.user, "admin");
    world.join(platform, member.user, "member");
    let of = |answer: crate::world::Answer| answer.ok().text_at("/platform_role");
    assert_eq!(of(login(&world, &admin).await.caller.get("/me").await), "admin");
    assert_eq!(of(login(&world, &member).await.caller.get("/me").await), "user");
}

#[actix_web::test]
async fn what_happened_to_an_account_is_its_owners_to_read() {
    let world = World::new().await;
    let (person, other) = (someone(&world).await, someone(&world).await);
    let session = login(&world, &person).await;
    let stranger = login(&world, &other).await;
    session.caller.patch("/me", json!({ "locale": "de" })).await.ok();
    let all = session.caller.get("/me/security-events?order=created_at").await.ok();
    let kinds: Vec<&str> = all.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["user.created", "session.created", "user.updated"]);
    assert_eq!(all.body["data"][2]["detail"], json!({ "fields": ["locale"] }));

    let first = session.caller.get("/me/security-events?limit=1").await.ok();
    assert_eq!(first.body["has_more"], true);
    let next = session
        .caller
        .get(&format!(
            "/me/security-events?limit=1&cursor={}",
            first.text_at("/next_cursor")
        ))
        .await
        .ok();
    assert_eq!(next.text_at("/data/0/kind"), "session.created");
    let theirs = stranger.caller.get("/me/security-events").await.ok();
    assert_eq!(theirs.body["data"].as_array().map(Vec::len), Some(2));
}
