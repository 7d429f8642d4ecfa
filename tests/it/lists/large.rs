//! Lists whose rows are large.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{names, rows};
use crate::world::{Caller, World};

/// So many policies with as much in each as there may be.
async fn policies(owner: &Caller, how_many: usize) -> BTreeSet<String> {
    let product = owner
        .post("/products", json!({ "code": "scribe", "name": "Scribe" }))
        .await;
    let product = product.created().id();
    let codes: Vec<String> = (0..33).map(|nr| format!("text-{nr}")).collect();
    for code in &codes {
        let definition = json!({ "code": code, "name": code, "kind": "static", "value_type": "string" });
        owner.post("/entitlements", definition).await.created();
    }
    let all = |length: usize| -> Value {
        codes
            .iter()
            .map(|code| (code.clone(), json!("x".repeat(length))))
            .collect()
    };
    let policy = |nr: usize, length: usize| {
        json!({ "product_id": product, "code": format!("p{nr}"), "name": "Large", "entitlements": all(length),
            "metadata": { "note": "y".repeat(500) } })
    };
    let refused = owner.post("/policies", policy(0, 500)).await;
    refused.invalid("/entitlements", "too-large");
    let mut made = BTreeSet::new();
    for nr in 0..how_many {
        made.insert(json!(owner.post("/policies", policy(nr, 480)).await.created().id()).to_string());
    }
    made
}

#[actix_web::test]
async fn a_page_of_large_rows_ends_early_and_the_next_one_goes_on_there() {
    let world = World::new().await;
    let owner = world.owner();
    let made = policies(&owner, 90).await;
    for order in ["-created_at", "created_at", "-updated_at", "updated_at"] {
        let page = owner.get(&format!("/policies?limit=100&order={order}")).await.ok();
        let had = page.body["data"].as_array().expect("rows").len();
        assert!(
            (30..90).contains(&had) && page.text.len() <= 1_100_000,
            "{had} rows, {} bytes",
            page.text.len()
        );
        assert_eq!(page.body["has_more"], true);
        let all = names(&rows(&owner, "/policies", &format!("&order={order}"), 100).await);
        assert_eq!(all.len(), 90, "{order}: none comes twice");
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), made, "{order}");
    }
}
