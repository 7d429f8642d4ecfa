//! What was not allowed is in the log too: once a minute, with a count, sealed like everything else.

use std::net::TcpListener;

use guildhall::{
    app::{api, serve},
    kernel::audit,
};
use serde_json::{Value, json};

use super::{column, hook, rename, rows, seal};
use crate::{
    identity::{OTHER, Someone, noted, someone, try_login},
    world::{Answer, Caller, World, patience::until},
};

fn product(name: &str) -> Value {
    json!({ "name": name, "code": name })
}

async fn refusals(owner: &Caller) -> Answer {
    owner.get("/audit-entries?outcome=refused&order=created_at").await.ok()
}

/// Looks until the process has written that many by itself.
async fn written(owner: &Caller, count: usize) -> Answer {
    until("the refusals are written", async || {
        rows(&refusals(owner).await).len() >= count
    })
    .await;
    refusals(owner).await
}

#[actix_web::test]
async fn a_write_that_is_not_allowed_is_an_entry_with_a_count() {
    let world = World::new().await;
    let owner = world.owner();
    let viewer = world.viewer().with("user-agent", "walk/1");
    let first = viewer.post("/products", product("one")).await.refused("forbidden");
    for n in 0..4 {
        viewer
            .post("/products", product(&format!("p{n}")))
            .await
            .refused("forbidden");
    }
    viewer
        .patch("/workspace", json!({ "name": "Mine" }))
        .await
        .refused("forbidden");
    world
        .api_key(["members:read"])
        .post("/products", product("one"))
        .await
        .refused("scope-missing");
    // What was only looked at, and what was merely wrong, is no entry.
    viewer.get("/api-keys").await.refused("forbidden");
    owner.post("/products", json!({})).await.refused("validation-failed");
    owner
        .patch("/members/mem_1", json!({ "role": "viewer" }))
        .await
        .refused("not-found");
    assert_eq!(
        rows(&refusals(&owner).await),
        Vec::<Value>::new(),
        "their minute is not over"
    );

    world.clock.advance(chrono::Duration::seconds(61));
    let log = written(&owner, 3).await;
    assert_eq!(
        column(&log, "/action"),
        ["products_create", "workspace_update", "products_create"]
    );
    assert_eq!(column(&log, "/code"), ["forbidden", "forbidden", "scope-missing"]);
    let counts: Vec<_> = rows(&log).iter().map(|row| row["occurrences"].clone()).collect();
    assert_eq!(counts, [5, 1, 1]);
    let entry = &rows(&log)[0];
    assert_eq!(entry["request_id"], first.header("x-request-id"));
    assert_eq!(
        (&entry["ip"], &entry["user_agent"]),
        (&json!(world.address), &json!("walk/1"))
    );
    assert_eq!(entry["actor"]["type"], "api_key");
    let stranger = world.stranger();
    assert_eq!(rows(&refusals(&stranger).await), Vec::<Value>::new());

    // The next minute is the next entry, and the chain holds with both.
    viewer.post("/products", product("one")).await.refused("forbidden");
    world.deployment.refusals.flush().await;
    rename(&owner, "Renamed").await;
    seal(&world).await;
    let log = refusals(&owner).await;
    assert_eq!(rows(&log).len(), 4);
    assert!(rows(&log).iter().all(|row| row["seal"]["seq"].is_i64()), "{}", log.text);
    let (db, keys) = (&world.deployment.db, &world.deployment.keys);
    let verdict = audit::verify(db, keys, world.home()).await.expect("a verdict");
    assert_eq!((verdict.places, verdict.broken), (5, None));
}

#[actix_web::test]
async fn an_address_inside_of_a_network_is_noted_and_a_process_that_ends_writes_the_rest() {
    let world = World::with(&[("SERVER__DRAIN_SECONDS", "0")]).await;
    let owner = world.owner();
    let inside = json!({ "url": "https://169.254.169.254/latest/meta-data", "events": ["*"] });
    for _ in 0..3 {
        owner
            .post("/webhook-endpoints", inside.clone())
            .await
            .refused("target-not-allowed");
    }
    owner.post("/webhook-endpoints", hook()).await.created();
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let server = api::serve(world.deployment.clone(), socket).expect("a server");
    let handle = server.handle();
    actix_web::rt::spawn(server);
    serve::drain(&world.deployment, &handle).await.expect("all is done");

    let log = refusals(&owner).await;
    assert_eq!(column(&log, "/action"), ["webhook_endpoints_create"]);
    assert_eq!(column(&log, "/code"), ["target-not-allowed"]);
    assert_eq!(rows(&log)[0]["occurrences"], 3);
}

/// What is in the log about an account.
async fn about(owner: &Caller, person: &Someone) -> Vec<Value> {
    let log = refusals(owner).await;
    let theirs = |row: &&Value| row["subject"]["id"] == person.user.to_string();
    rows(&log).iter().filter(theirs).cloned().collect()
}

#[actix_web::test]
async fn a_wrong_password_is_an_entry_where_a_workspace_is_known() {
    let world = World::new().await;
    let (owner, outsider) = (world.owner(), world.stranger());
    let (member, nomad, nobody) = (someone(&world).await, someone(&world).await, someone(&world).await);
    world.join(world.home(), member.user, "viewer");
    for place in [world.home(), world.elsewhere()] {
        world.join(place, nomad.user, "viewer");
    }
    let here = world.anonymous().with("guildhall-workspace", &world.home().to_string());
    let guess = |person: &Someone| json!({ "identifier": person.email, "password": OTHER });
    for _ in 0..3 {
        try_login(&world, &member.email, OTHER)
            .await
            .refused("invalid-credentials");
    }
    for person in [&nomad, &nobody] {
        try_login(&world, &person.email, OTHER)
            .await
            .refused("invalid-credentials");
        here.post("/auth/login", guess(person))
            .await
            .refused("invalid-credentials");
    }
    until("the guesses are written", async || {
        world.deployment.refusals.flush().await;
        let times = |rows: Vec<Value>| rows.iter().filter_map(|row| row["occurrences"].as_i64()).sum::<i64>();
        times(about(&owner, &member).await) == 3 && times(about(&owner, &nomad).await) == 1
    })
    .await;
    until("all of them are noted", async || {
        [(&member, 3), (&nomad, 2), (&nobody, 2)]
            .iter()
            .all(|(person, times)| noted(&world, person.user, "sign_in.failed") == *times)
    })
    .await;
    let entry = &about(&owner, &member).await[0];
    assert_eq!(
        (
            &entry["action"],
            &entry["code"],
            &entry["actor"]["type"],
            &entry["subject"]["type"]
        ),
        (
            &json!("auth_login"),
            &json!("invalid-credentials"),
            &json!("visitor"),
            &json!("user")
        )
    );
    assert_eq!(entry["ip"], json!(world.address));
    for person in [&member, &nomad, &nobody] {
        assert_eq!(
            about(&outsider, person).await,
            Vec::<Value>::new(),
            "nobody meant that workspace"
        );
    }
    assert_eq!(about(&owner, &nobody).await, Vec::<Value>::new());
}
