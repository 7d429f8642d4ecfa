//! Workspaces, members, keys: who may do what to whom.

use serde_json::json;

use crate::world::World;

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
    let now = owner.get("/workspace").header("if-none-match", "\"2\"").await;
    assert_eq!((now.status.as_u16(), now.text.as_str()), (304, ""));
}

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
