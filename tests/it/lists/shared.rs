//! Pages, orders and the filters that lists share.

use chrono::Duration;
use serde_json::{Value, json};

use super::{Stage, name, names, rows};
use crate::{isolation::routes::operations::Operation, rules::none, world::World};

#[actix_web::test]
async fn every_list_goes_by_pages_in_every_order() {
    let stage = Stage::set().await;
    let mut broken = Vec::new();
    for (list, address) in stage.lists() {
        let usual = rows(&stage.owner, &address, "", 100).await;
        if usual.is_empty() {
            broken.push(format!("{}: has no rows, and proves nothing", list.id));
        }
        let limit = (usual.len() / 4).clamp(1, 100);
        let changes = list.filters.iter().any(|filter| filter == "updated_after");
        for time in ["created_at", "updated_at"] {
            if time == "updated_at" && !changes {
                let wrong = format!("{address}?order=updated_at");
                stage.owner.get(&wrong).await.refused("invalid-parameter");
                continue;
            }
            let up = rows(&stage.owner, &address, &format!("&order={time}"), limit).await;
            let mut down = rows(&stage.owner, &address, &format!("&order=-{time}"), limit).await;
            down.reverse();
            if names(&up) != names(&down) || up.len() != usual.len() {
                broken.push(format!("{}: {time} is not the other way round", list.id));
            }
            if !up.is_sorted_by_key(|row| row[time].as_str().map(str::to_owned)) {
                broken.push(format!("{}: is not in the order of {time}", list.id));
            }
        }
        let first = stage.owner.get(&format!("{address}?limit=1")).await.ok();
        let Some(cursor) = first.body["next_cursor"].as_str() else {
            continue;
        };
        for other in ["order=created_at", "created_after=2020-01-01T00:00:00Z"] {
            let elsewhere = format!("{address}?cursor={cursor}&{other}");
            stage.owner.get(&elsewhere).await.refused("invalid-cursor");
        }
    }
    none("lists", broken);
}

#[actix_web::test]
async fn every_list_is_narrowed_by_time_with_the_bounds_left_out() {
    let stage = Stage::set().await;
    let mut broken = Vec::new();
    for (list, address) in stage.lists() {
        let all = rows(&stage.owner, &address, "", 100).await;
        for time in ["created", "updated"] {
            let (after, before) = (format!("{time}_after"), format!("{time}_before"));
            if !list.filters.contains(&after) {
                assert!(time == "updated" && !list.filters.contains(&before), "{}", list.id);
                continue;
            }
            let at = |row: &Value| row[format!("{time}_at")].as_str().expect("a time").to_owned();
            let (Some(first), Some(last)) = (all.iter().map(at).min(), all.iter().map(at).max()) else {
                broken.push(format!("{}: has no rows, and proves nothing", list.id));
                continue;
            };
            for bound in [&first, &last] {
                let later = rows(&stage.owner, &address, &format!("&{after}={bound}"), 100).await;
                let earlier = rows(&stage.owner, &address, &format!("&{before}={bound}"), 100).await;
                let expected = |holds: &dyn Fn(&str) -> bool| -> Vec<String> {
                    all.iter().filter(|row| holds(&at(row))).map(name).collect()
                };
                if names(&later) != expected(&|time| time > bound.as_str()) {
                    broken.push(format!("{}: {after}={bound} of {first} to {last}", list.id));
                }
                if names(&earlier) != expected(&|time| time < bound.as_str()) {
                    broken.push(format!("{}: {before}={bound} of {first} to {last}", list.id));
                }
            }
            let wrong = format!("{address}?{after}=yesterday");
            stage.owner.get(&wrong).await.refused("invalid-parameter");
        }
    }
    none("lists", broken);
}

#[actix_web::test]
async fn a_list_takes_the_parameters_that_the_document_describes_and_no_others() {
    let stage = Stage::set().await;
    let mut broken = Vec::new();
    for (list, address) in stage.lists() {
        let refused = stage.owner.get(&format!("{address}?neverheard=1")).await;
        let refused = refused.refused("unknown-parameter");
        let told = refused.text_at("/detail");
        let known = told
            .strip_prefix("Known are: ")
            .and_then(|told| told.strip_suffix('.'))
            .expect("the parameters");
        let mut known: Vec<&str> = known.split(", ").map(|name| name.trim_end_matches("[…]")).collect();
        let mut described: Vec<&str> = list.filters.iter().map(String::as_str).collect();
        described.extend(["limit", "cursor", "order"]);
        known.sort_unstable();
        described.sort_unstable();
        if known != described {
            broken.push(format!("{}: takes {known:?}, describes {described:?}", list.id));
        }
        if described.contains(&"metadata") {
            let none = stage.owner.get(&format!("{address}?metadata[tier]=never")).await.ok();
            assert_eq!(none.body["data"], json!([]), "{}", list.id);
            for wrong in ["metadata[]=x", "metadata[a%20b]=x", "metadata[tier]=a%00b"] {
                let wrong = stage.owner.get(&format!("{address}?{wrong}")).await;
                wrong.refused("invalid-parameter");
            }
        }
    }
    none("lists", broken);
}

#[actix_web::test]
async fn metadata_narrows_by_any_value_of_each_key() {
    let world = World::new().await;
    let owner = world.owner();
    let product = async |code: &str, tags: Value| {
        let body = json!({ "code": code, "name": code, "metadata": tags });
        owner.post("/products", body).await.created().id()
    };
    let a = product("a", json!({ "tier": "gold", "team": "x" })).await;
    let b = product("b", json!({ "tier": "silver", "team": "x" })).await;
    let c = product("c", json!({ "tier": "gold", "team": "y" })).await;
    product("d", json!({})).await;
    // What others carry is theirs.
    let elsewhere = json!({ "code": "a", "name": "a", "metadata": { "tier": "gold" } });
    world.stranger().post("/products", elsewhere).await.created();
    let found = async |question: &str| {
        let page = owner.get(&format!("/products?order=created_at&{question}")).await.ok();
        let rows = page.body["data"].as_array().expect("rows").iter();
        rows.map(|row| row["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("metadata[tier]=gold").await, [a.clone(), c.clone()]);
    assert_eq!(
        found("metadata[tier]=gold&metadata[tier]=silver").await,
        [a.clone(), b.clone(), c.clone()]
    );
    assert_eq!(
        found("metadata[tier]=gold&metadata[team]=x").await,
        std::slice::from_ref(&a)
    );
    assert_eq!(found("metadata%5Bteam%5D=x&code=b").await, std::slice::from_ref(&b));
    assert!(found("metadata[tier]=gol").await.is_empty());

    // The pages of one question are not those of another.
    let page = owner.get("/products?limit=1&metadata[tier]=gold").await.ok();
    let cursor = page.text_at("/next_cursor");
    let next = format!("/products?limit=1&cursor={cursor}&metadata[tier]");
    assert_eq!(owner.get(&format!("{next}=gold")).await.ok().text_at("/data/0/id"), a);
    owner.get(&format!("{next}=silver")).await.refused("invalid-cursor");

    // It is found by what it carries now.
    let change = json!({ "metadata": { "tier": "silver", "team": null } });
    owner.patch(&format!("/products/{a}"), change).await.ok();
    assert_eq!(found("metadata[tier]=gold").await, [c]);
    assert_eq!(found("metadata[tier]=silver").await, [a, b.clone()]);
    assert_eq!(found("metadata[team]=x").await, [b]);

    let many: Vec<String> = (0..11).map(|n| format!("metadata[k{n}]=x")).collect();
    let many = owner.get(&format!("/products?{}", many.join("&"))).await;
    many.refused("invalid-parameter");
}

/// Things of several kinds share a table of tags.
#[actix_web::test]
async fn a_tag_finds_things_of_the_kind_that_carries_it() {
    const KINDS: [&str; 8] = [
        "products",
        "policies",
        "entitlement_defs",
        "customers",
        "licenses",
        "machines",
        "agents",
        "runs",
    ];
    let stage = Stage::set().await;
    for kind in KINDS {
        let tag = format!("UPDATE guildhall.{kind} SET metadata = '{{\"of\": \"{kind}\"}}'");
        stage.world.admin(&tag);
    }
    let mut met = Vec::new();
    let tagged = |list: &Operation| list.filters.iter().any(|filter| filter == "metadata");
    for (list, address) in stage.lists().into_iter().filter(|(list, _)| tagged(list)) {
        let all = names(&rows(&stage.owner, &address, "", 100).await);
        let mut kinds = Vec::new();
        for kind in KINDS {
            let found = names(&rows(&stage.owner, &address, &format!("&metadata[of]={kind}"), 100).await);
            if !found.is_empty() {
                assert_eq!(found, all, "{}", list.id);
                kinds.push(kind);
            }
        }
        assert_eq!(kinds.len(), 1, "{}: {kinds:?}", list.id);
        met.extend(kinds);
    }
    assert!(KINDS.iter().all(|kind| met.contains(kind)), "only {met:?}");
}

#[actix_web::test]
async fn metadata_goes_with_its_thing() {
    let world = World::new().await;
    let owner = world.owner();
    let tags = json!({ "tier": "gold" });
    let config = json!({ "model": "sandbox", "prompt": "Say {{ input.say }}" });
    let agent = json!({ "name": "One", "framework": "openai", "config": config, "metadata": tags });
    let agent = owner.post("/agents", agent).await.created().id();
    let customer = json!({ "email": "one@example.com", "metadata": tags });
    let customer = owner.post("/customers", customer).await.created().id();
    for (list, id) in [("/agents", &agent), ("/customers", &customer)] {
        let found = owner.get(&format!("{list}?metadata[tier]=gold")).await.ok();
        assert_eq!(&found.text_at("/data/0/id"), id);
    }
    let home = world.home().uuid();
    let pairs = format!("SELECT count(*) FROM guildhall.agent_metadata WHERE workspace_id = '{home}'");
    assert_eq!(world.count(&pairs), 1);
    owner.delete(&format!("/agents/{agent}")).await.gone();
    assert_eq!(world.count(&pairs), 0);
}

#[actix_web::test]
async fn null_clears_all_tags_of_whatever_has_some() {
    let stage = Stage::set().await;
    let document = serde_json::to_value(guildhall::app::api::document()).expect("plain JSON");
    let mut cleared = Vec::new();
    for (list, address) in stage.lists() {
        let (path, property) = (format!("{}/{{", list.path), "/properties/metadata/type");
        let one = document["paths"].as_object().expect("paths").iter();
        let mut one = one.filter(|(known, _)| known.starts_with(&path) && known.ends_with('}'));
        let Some(change) = one.find_map(|(_, methods)| {
            let schema = &methods["patch"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let name = schema.as_str()?.rsplit('/').next()?;
            document["components"]["schemas"][name].pointer(property)
        }) else {
            continue;
        };
        assert_eq!(*change, json!(["object", "null"]), "{}: null is allowed", list.id);
        let all = rows(&stage.owner, &address, "", 100).await;
        let one = format!("{address}/{}", all[0]["id"].as_str().expect("an id"));
        let patch = async |metadata: serde_json::Value| {
            let changed = stage.owner.patch(&one, json!({ "metadata": metadata }));
            changed.header("if-match", "*").await.ok().body["metadata"].clone()
        };
        assert_eq!(patch(json!({ "a": "1", "b": "2" })).await["b"], "2");
        assert_eq!(patch(serde_json::Value::Null).await, json!({}), "{one}");
        cleared.push(list.id);
    }
    assert!(cleared.len() >= 6, "only {cleared:?}");
}

#[actix_web::test]
async fn who_asks_for_changes_misses_none_that_happens_meanwhile() {
    let world = World::new().await;
    let owner = world.owner();
    let mut made = Vec::new();
    for n in 0..4 {
        world.clock.advance(Duration::seconds(1));
        let body = json!({ "code": format!("p{n}"), "name": "Old" });
        made.push(owner.post("/products", body).await.created().id());
    }
    let list = "/products?order=updated_at&limit=2";
    let first = owner.get(list).await.ok();
    let cursor = first.text_at("/next_cursor");
    // One that was seen changes, and one that was not.
    for n in [0, 3] {
        world.clock.advance(Duration::seconds(1));
        let change = json!({ "name": "New" });
        owner.patch(&format!("/products/{}", made[n]), change).await.ok();
    }
    let rest = rows(&owner, "/products", &format!("&order=updated_at&cursor={cursor}"), 100).await;
    let rest: Vec<_> = rest
        .iter()
        .map(|row| (row["id"].clone(), row["name"].clone()))
        .collect();
    let expected = [(2, "Old"), (0, "New"), (3, "New")].map(|(n, name): (usize, _)| (json!(made[n]), json!(name)));
    assert_eq!(rest, expected);

    // The next time, from where it ended and a minute before.
    let seen = owner.get("/products?order=-updated_at&limit=1").await.ok();
    let seen = seen.text_at("/data/0/updated_at");
    let nothing = owner
        .get(&format!("/products?order=updated_at&updated_after={seen}"))
        .await
        .ok();
    assert_eq!(nothing.body["data"], json!([]));
    let overlap = chrono::DateTime::parse_from_rfc3339(&seen).expect("a time") - Duration::seconds(60);
    let overlap = overlap.to_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ");
    let again = rows(
        &owner,
        "/products",
        &format!("&order=updated_at&updated_after={overlap}"),
        100,
    )
    .await;
    assert_eq!(again.len(), 4);
    // A cursor of one order is none of another.
    let page = owner.get(&format!("{list}&cursor={cursor}")).await.ok();
    assert_eq!(page.body["data"].as_array().map(Vec::len), Some(2));
    let other = format!("/products?order=created_at&limit=2&cursor={cursor}");
    owner.get(&other).await.refused("invalid-cursor");
}
