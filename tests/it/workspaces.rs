//! Workspaces, members, keys: who may do what to whom.

use std::future::IntoFuture;

use serde_json::json;

use crate::{
    identity::{login, someone, together},
    world::{Caller, World},
};

#[actix_web::test]
async fn a_viewer_may_look_at_members_but_not_change_them() {
    let world = World::new().await;
    let members = world.owner().get("/members").await.ok();
    let first = members.text_at("/data/0/id");

    world.viewer().get(&format!("/members/{first}")).await.ok();
    world
        .viewer()
        .patch(&format!("/members/{first}"), json!({ "role": "admin" }))
        .await
        .refused("forbidden");
    world
        .stranger()
        .get(&format!("/members/{first}"))
        .await
        .refused("not-found");
    world.anonymous().get("/members").await.refused("unauthenticated");
}

#[actix_web::test]
async fn the_last_owner_cannot_go() {
    let world = World::new().await;
    let owner = world.owner();
    let own = owner.get("/members?role=owner").await.ok().text_at("/data/0/id");

    owner.delete(&format!("/members/{own}")).await.refused("last-owner");
    owner
        .patch(&format!("/members/{own}"), json!({ "role": "viewer" }))
        .await
        .refused("last-owner");
}

#[actix_web::test]
async fn an_admin_can_neither_touch_an_owner_nor_make_one() {
    let world = World::new().await;
    let (owner, admin) = (world.owner(), world.member("admin"));
    let owners = owner.get("/members?role=owner").await.ok().text_at("/data/0/id");
    let own = admin.get("/members?role=admin").await.ok().text_at("/data/0/id");

    admin.delete(&format!("/members/{owners}")).await.refused("owners-only");
    admin
        .patch(&format!("/members/{own}"), json!({ "role": "owner" }))
        .await
        .refused("cannot-grant");
}

#[actix_web::test]
async fn a_demotion_bites_at_once() {
    let world = World::new().await;
    let (owner, admin) = (world.owner(), world.member("admin"));
    let demoted = admin.get("/members?role=admin").await.ok().text_at("/data/0/id");
    admin.patch("/workspace", json!({ "name": "Before" })).await.ok();

    owner
        .patch(&format!("/members/{demoted}"), json!({ "role": "viewer" }))
        .await
        .ok();
    admin
        .patch("/workspace", json!({ "name": "After" }))
        .await
        .refused("forbidden");
    assert_eq!(
        world.audit(),
        ["workspace.updated by api_key", "member.updated by api_key"]
    );
}

#[actix_web::test]
async fn a_stale_if_match_loses_nothing() {
    let world = World::new().await;
    let owner = world.owner();
    let seen = owner.get("/workspace").await.ok();
    let tag = seen.header("etag").to_owned();

    owner
        .patch("/workspace", json!({ "name": "First" }))
        .header("if-match", &tag)
        .await
        .ok();
    let refused = owner
        .patch("/workspace", json!({ "name": "Second" }))
        .header("if-match", &tag)
        .await
        .refused("version-mismatch");
    assert_eq!(refused.body["current_version"], 2);
    let now = format!("\"2-{}\"", world.home());
    for (tags, status) in [
        (now.clone(), 304),
        (format!("W/{now}"), 304),
        (format!("{tag}, W/{now}"), 304),
        (format!("W/{tag}"), 200),
        ("\"2\"".into(), 200),
        (format!("\"2-{}\"", world.elsewhere()), 200),
    ] {
        let seen = owner.get("/workspace").header("if-none-match", &tags).await;
        assert_eq!(seen.status.as_u16(), status, "{tags}");
        assert_eq!(seen.text.is_empty(), status == 304);
    }
}

#[actix_web::test]
async fn what_one_caller_keeps_is_no_others_answer() {
    let world = World::new().await;
    let (ann, bob) = (someone(&world).await, someone(&world).await);
    for place in [world.home(), world.elsewhere()] {
        world.join(place, ann.user, "owner");
        world.join(place, bob.user, "owner");
    }
    let (ann, bob) = (login(&world, &ann).await.caller, login(&world, &bob).await.caller);
    let places = [world.home(), world.elsewhere()].map(|place| place.to_string());
    let callers = [&ann, &bob].map(|caller| [0, 1].map(|place| caller.with("guildhall-workspace", &places[place])));
    // Each with who shares its answer: a person's preferences are the same everywhere, a workspace for everybody.
    for (path, shared) in [
        ("/workspace", [true, false]),
        ("/me", [false, false]),
        ("/me/preferences", [false, true]),
    ] {
        let kept = callers[0][0].get(path).await.ok();
        let varies = kept.header("vary").to_ascii_lowercase();
        for chooses in ["origin", "authorization", "x-api-key", "cookie", "guildhall-workspace"] {
            assert!(varies.split(", ").any(|name| name == chooses), "{path}: {varies}");
        }
        let status = async |caller: &Caller| {
            let asked = caller.get(path).header("if-none-match", kept.header("etag")).await;
            asked.status.as_u16() == 304
        };
        assert!(status(&callers[0][0]).await, "{path}");
        let others = [status(&callers[1][0]).await, status(&callers[0][1]).await];
        assert_eq!(others, shared, "{path}: another person, another workspace");

        let change = async |caller: &Caller, tag: &str| {
            let asked = caller.patch(path, json!({})).header("if-match", tag).await;
            asked.status.as_u16()
        };
        let tag = kept.header("etag");
        let version = format!("\"{}\"", kept.body["version"]);
        assert_eq!(change(&callers[0][0], tag).await, 200, "{path}");
        assert_eq!(change(&callers[0][0], &version).await, 200, "{path}");
        let strangers = [
            (&callers[1][0], path != "/workspace"),
            (&callers[0][1], path == "/workspace"),
        ];
        for (caller, is_other) in strangers {
            let status = if is_other { 412 } else { 200 };
            assert_eq!(change(caller, tag).await, status, "{path}");
        }
    }
}

#[actix_web::test]
async fn what_somebody_is_changes_what_they_see_of_themselves() {
    let world = World::new().await;
    let platform = guildhall::kernel::id::WorkspaceId::PLATFORM;
    let person = someone(&world).await;
    world.join(platform, person.user, "admin");
    let caller = login(&world, &person).await.caller;
    let before = caller.get("/me").await.ok();
    world.admin(&format!(
        "UPDATE guildhall.memberships SET role = 'viewer' WHERE user_id = '{}'",
        person.user.uuid()
    ));
    let again = caller
        .get("/me")
        .header("if-none-match", before.header("etag"))
        .await
        .ok();
    assert_ne!(again.body["platform_role"], before.body["platform_role"]);
    let unchanged = caller.patch("/me", json!({})).await.ok();
    assert_eq!(unchanged.body, again.body);
    assert_eq!(unchanged.header("etag"), again.header("etag"));
}

/// Somebody who has just signed in, in the home workspace.
pub async fn signed_in(world: &World, role: &str) -> Caller {
    let person = someone(world).await;
    world.join(world.home(), person.user, role);
    login(world, &person).await.caller
}

/// A slug that no other test has.
fn slug(start: &str) -> String {
    format!("{start}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

pub async fn member_of(caller: &Caller, user: guildhall::kernel::id::UserId) -> String {
    let members = caller.get("/members?limit=100").await.ok();
    let all = members.body["data"].as_array().expect("members").clone();
    let found = all
        .iter()
        .find(|one| one["user_id"] == user.to_string())
        .expect("a member");
    found["id"].as_str().expect("an id").to_owned()
}

#[actix_web::test]
async fn an_old_slug_leads_to_its_workspace_for_ninety_days_and_is_nobody_elses() {
    let world = World::new().await;
    let (owner, founder) = (world.owner(), signed_in(&world, "viewer").await);
    let (a, b) = (slug("a"), slug("b"));
    let rename = |to: &str| owner.patch("/workspace", json!({ "slug": to }));
    let under = |name: &str| owner.with("guildhall-workspace", name).get("/workspace");
    for name in [&a, &b, &a, &b] {
        rename(name).await.ok();
        under(name).await.ok();
    }
    assert_eq!(under(&a).await.ok().text_at("/slug"), b);
    under(&slug("c")).await.refused("workspace-mismatch");

    let make = |name: &str| founder.post("/workspaces", json!({ "name": "Other", "slug": name }));
    make(&a).await.refused("slug-taken");
    make(&b).await.refused("slug-taken");
    let stranger = world.stranger();
    for name in [&a, &b] {
        stranger
            .patch("/workspace", json!({ "slug": name }))
            .await
            .refused("slug-taken");
    }
    world.clock.advance(chrono::Duration::days(91));
    world.deployment.doorkeeper.forget_all();
    under(&a).await.refused("workspace-mismatch");
    guildhall::kernel::upkeep::sweep(&world.deployment.db)
        .await
        .expect("swept");
    stranger.patch("/workspace", json!({ "slug": a })).await.ok();
    stranger
        .patch("/workspace", json!({ "slug": b }))
        .await
        .refused("slug-taken");
}

#[actix_web::test]
async fn a_workspace_does_not_hoard_slugs() {
    let world = World::new().await;
    let owner = world.owner();
    let names: Vec<String> = (0..11).map(|_| slug("n")).collect();
    for name in &names[..10] {
        owner.patch("/workspace", json!({ "slug": name })).await.ok();
    }
    let next = || owner.patch("/workspace", json!({ "slug": names[10] }));
    next().await.refused("too-many-slugs");
    owner.patch("/workspace", json!({ "slug": names[0] })).await.ok();
    world.clock.advance(chrono::Duration::days(91));
    next().await.ok();
}

#[actix_web::test]
async fn a_slug_made_from_a_name_is_neither_ours_nor_somebody_elses() {
    let world = World::new().await;
    let founder = signed_in(&world, "viewer").await;
    let named = |name: &str| founder.post("/workspaces", json!({ "name": name }));
    for reserved in ["Support", "Admin", "www"] {
        let made = named(reserved).await.created().text_at("/slug");
        assert!(made.starts_with(&format!("{}-", reserved.to_lowercase())), "{made}");
    }
    let name = slug("twice");
    let made = together([named(&name), named(&name), named(&name)].map(IntoFuture::into_future)).await;
    let mut slugs: Vec<String> = made.into_iter().map(|made| made.created().text_at("/slug")).collect();
    slugs.sort();
    slugs.dedup();
    assert!(slugs.len() == 3 && slugs[0] == name, "{slugs:?}");
}

#[actix_web::test]
async fn one_person_owns_so_many_free_workspaces() {
    let world = World::with(&[("AUTH__WORKSPACES_PER_PERSON", "2")]).await;
    let founder = signed_in(&world, "viewer").await;
    let make = || founder.post("/workspaces", json!({ "name": slug("w") }));
    let made = together((0..5).map(|_| make().into_future())).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 2);
    for answer in refused {
        let answer = answer.refused("plan-limit-reached");
        assert_eq!(
            (&answer.body["limit"], &answer.body["entitlement"]),
            (&json!(2), &json!("workspaces"))
        );
    }
    let paid = made[0].text_at("/slug");
    world.admin(&format!(
        "UPDATE guildhall.workspace_plans SET plan = 'pro', rank = 10 \
          WHERE workspace_id = (SELECT id FROM guildhall.workspaces WHERE slug = '{paid}')"
    ));
    make().await.created();
    make().await.refused("plan-limit-reached");
}

#[actix_web::test]
async fn a_member_who_takes_another_name_is_another_version_of_the_member() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "viewer");
    let (owner, session) = (world.owner(), login(&world, &person).await);
    let member = format!("/members/{}", member_of(&owner, person.user).await);
    session.caller.patch("/me", json!({ "display_name": "One" })).await.ok();
    let before = owner.get(&member).await.ok();
    let tag = before.header("etag").to_owned();
    session.caller.patch("/me", json!({ "locale": "de" })).await.ok();
    let same = owner.get(&member).header("if-none-match", &tag).await;
    assert_eq!(same.status.as_u16(), 304, "nobody sees another's language");
    session
        .caller
        .patch("/me", json!({ "display_name": "Other" }))
        .await
        .ok();
    let after = owner.get(&member).header("if-none-match", &tag).await.ok();
    assert_eq!(
        (&before.body["display_name"], &after.body["display_name"]),
        (&json!("One"), &json!("Other"))
    );
    assert_eq!(world.audit(), ["member.updated by user", "member.updated by user"]);
}
