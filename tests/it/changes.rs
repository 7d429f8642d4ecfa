//! Changes of documents beside those who refer to them.

use std::future::IntoFuture;

use diesel::connection::SimpleConnection;
use futures_util::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    isolation::routes::{
        operations::{self, Operation},
        principals::signed_in,
        things::Maker,
    },
    webhooks::concurrent::waiting,
    world::{World, until},
};

/// Every row that others can refer to is looked at as their foreign keys look at it.
const REFERRED: &str = "BEGIN; DO $$ DECLARE t regclass; BEGIN
     FOR t IN SELECT DISTINCT confrelid FROM pg_constraint WHERE contype = 'f' AND connamespace = 'guildhall'::regnamespace
     LOOP EXECUTE format('SELECT FROM %s FOR KEY SHARE', t); END LOOP; END $$";

/// A change of what people call it, and of what is unique of it.
fn change(operation: &Operation) -> Value {
    match operation.id.as_str() {
        "me_update" => json!({ "display_name": "New" }),
        "me_update_preferences" => json!({ "theme": "dark" }),
        "members_update" => json!({ "role": "admin" }),
        "workspace_update" => json!({ "name": "New", "slug": "a-new-one" }),
        "agents_update" => json!({ "name": "New", "slug": "a-new-one" }),
        "policies_update" => json!({ "name": "New", "code": "a-new-one" }),
        _ => json!({ "name": "New" }),
    }
}

#[actix_web::test]
async fn a_change_waits_for_nobody_who_refers_to_what_changes() {
    let world = World::new().await;
    let (caller, person) = signed_in(&world, world.home(), "owner").await;
    let mut maker = Maker::at_home(&world, &caller, &person);
    let mut changes = operations::all();
    changes.retain(|operation| operation.method == Method::PATCH);
    // Whoever matches events with an endpoint is sure of it until that is done: tests/it/webhooks/concurrent.rs.
    changes.retain(|operation| operation.id != "webhook_endpoints_update");
    let prefixes = changes.iter().flat_map(|operation| &operation.places);
    let things = maker
        .one_of_each(prefixes.filter_map(|(_, prefix)| prefix.as_deref()))
        .await;

    let mut others = world.superuser();
    others.batch_execute(REFERRED).expect("nobody else is here");
    for operation in &changes {
        let path = operation
            .places
            .iter()
            .fold(operation.path.clone(), |path, (name, prefix)| {
                let id = prefix.as_ref().map(|prefix| things[prefix].as_str()).expect("an id");
                path.replace(&format!("{{{name}}}"), id)
            });
        let before = caller.get(&path).await.ok();
        let ask = caller.patch(&path, change(operation));
        let after = ask.header("if-match", before.header("etag")).await.ok();
        assert_ne!(before.body, after.body, "{}", operation.id);
    }
    others.batch_execute("COMMIT").expect("they end");
}

#[actix_web::test]
async fn nobody_makes_a_key_while_their_membership_ends() {
    let world = World::new().await;
    let (member, person) = signed_in(&world, world.home(), "admin").await;
    let key = |name: &str| member.post("/api-keys", json!({ "name": name }));
    let first = key("first").await.created().id();
    let own = world
        .owner()
        .get("/members?role=admin")
        .await
        .ok()
        .text_at("/data/0/id");

    // The removal comes as far as the keys that there are.
    let mut barrier = world.superuser();
    let hold = format!(
        "BEGIN; SELECT FROM guildhall.api_keys WHERE owner_id = '{}' FOR UPDATE",
        person.user.uuid()
    );
    barrier.batch_execute(&hold).expect("nobody else holds it");
    let owner = world.owner();
    let meanwhile = async {
        until("the removal waits", || waiting(&world) == 1).await;
        let late = async {
            until("the new key waits for it", || waiting(&world) == 2).await;
            barrier.batch_execute("ROLLBACK").expect("given back");
        };
        join!(key("late").into_future(), late).0
    };
    let path = format!("/members/{own}");
    let (removed, late) = join!(owner.delete(&path).into_future(), meanwhile);
    removed.gone();
    late.refused("not-found");
    let living = format!(
        "SELECT count(*) FROM api_keys WHERE owner_id = '{}' AND revoked_at IS NULL",
        person.user.uuid()
    );
    assert_eq!(world.count(&living), 0, "not even {first} is left");
}
