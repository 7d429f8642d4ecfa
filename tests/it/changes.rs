//! Changes of documents beside those who refer to them.

use diesel::connection::SimpleConnection;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    isolation::routes::{
        operations::{self, Operation},
        principals::signed_in,
        things::Maker,
    },
    world::World,
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
        "webhook_endpoints_update" => json!({ "description": "New" }),
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
