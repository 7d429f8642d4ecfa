//! The audit log: what is in it, who may read it, and the chain that seals it.

mod chain;
mod changes;
mod refusals;
mod verifying;

use std::collections::BTreeSet;

use guildhall::kernel::audit;
use serde_json::{Value, json};

use crate::{
    identity::{PASSWORD, login, someone},
    world::{Answer, Caller, World},
};

/// Has everything sealed that waits.
async fn seal(world: &World) {
    audit::sweep(world.deployment.db.clone()).await.expect("a look");
    world.run_jobs().await;
}

/// A sweep goes on for as long as there are workspaces, and not as long as one transaction may.
#[actix_web::test]
async fn each_page_of_a_sweep_has_all_the_time_of_its_own() {
    let world = World::new().await;
    world.admin(
        "CREATE TABLE guildhall.left_over (ms integer);
         CREATE FUNCTION guildhall.note_left_over() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           IF NOT EXISTS (SELECT FROM guildhall.left_over) THEN PERFORM pg_sleep(2); END IF;
           INSERT INTO guildhall.left_over SELECT extract(epoch FROM current_setting('statement_timeout')::interval) * 1000;
           RETURN NULL; END $$;
         CREATE TRIGGER note_left_over AFTER INSERT ON guildhall.run_queue FOR EACH ROW EXECUTE FUNCTION guildhall.note_left_over();
         INSERT INTO guildhall.audit_pending SELECT gen_random_uuid(), gen_random_uuid() FROM generate_series(1, 250)",
    );
    let swept = audit::sweep(world.deployment.db.clone()).await;
    let count = |what: &str| world.count(&format!("SELECT {what} AS count FROM guildhall.left_over"));
    let (pushed, least) = (count("count(*)"), count("min(ms)::bigint"));
    world.admin(
        "DROP TRIGGER note_left_over ON guildhall.run_queue; DROP FUNCTION guildhall.note_left_over(); DROP TABLE guildhall.left_over;
         DELETE FROM guildhall.audit_pending; DELETE FROM guildhall.run_queue WHERE kind = 'audit.seal';
         UPDATE guildhall.workspace_slots s SET ready = (SELECT count(*) FROM guildhall.run_queue q
          WHERE q.lane = s.lane AND q.workspace_id = s.workspace_id)",
    );
    swept.expect("a look");
    assert!(pushed >= 250, "{pushed}");
    assert!(least > 29_000, "a page had {least} ms left");
}

fn rows(answer: &Answer) -> Vec<Value> {
    answer.body["data"].as_array().expect("a list").clone()
}

fn column(answer: &Answer, pointer: &str) -> Vec<String> {
    let text = |row: &Value| row.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    rows(answer).iter().map(text).collect()
}

fn hook() -> Value {
    json!({ "url": "https://hooks.example.com/in", "events": ["*"] })
}

async fn rename(caller: &Caller, name: &str) -> Answer {
    caller.patch("/workspace", json!({ "name": name })).await.ok()
}

#[actix_web::test]
async fn every_change_is_in_it_with_who_made_it_from_where_and_what_it_was() {
    let world = World::new().await;
    let owner = world.owner().with("user-agent", "walk/1");
    let renamed = rename(&owner, "Renamed").await;
    let viewer = world.person();
    let member = world.join(world.home(), viewer, "viewer");
    owner
        .patch(&format!("/members/{member}"), json!({ "role": "admin" }))
        .await
        .ok();
    let hooked = owner.post("/webhook-endpoints", hook()).await.created();

    let log = owner.get("/audit-entries").await.ok();
    assert_eq!(
        column(&log, "/action"),
        ["webhook_endpoint.created", "member.updated", "workspace.updated"]
    );
    assert_eq!(
        column(&log, "/subject/id"),
        [hooked.id(), member.to_string(), world.home().to_string()]
    );
    let [_, promoted, first] = &rows(&log)[..] else {
        panic!("three entries")
    };
    assert_eq!(promoted["changes"], json!({ "role": ["viewer", "admin"] }));
    assert_eq!(first["changes"], json!({ "name": ["home", "Renamed"] }));
    assert_eq!(first["request_id"], renamed.header("x-request-id"));
    assert_eq!(first["actor"]["type"], "api_key");
    assert_eq!(first["actor"]["label"], "test");
    assert_eq!(first["ip"], world.address.as_str());
    assert_eq!(first["user_agent"], "walk/1");
    assert_eq!(
        (first["outcome"].as_str(), first["seal"].is_null()),
        (Some("done"), true)
    );

    // What was refused changed nothing, and a repetition is no second change.
    owner
        .patch("/workspace", json!({ "name": "" }))
        .await
        .refused("validation-failed");
    rename(&owner, "Renamed").await;
    assert_eq!(rows(&owner.get("/audit-entries").await.ok()).len(), 3);
}

#[actix_web::test]
async fn owners_and_admins_read_it_and_nobody_else() {
    let world = World::new().await;
    rename(&world.owner(), "Ours").await;
    for list in ["/audit-entries", "/audit-checkpoints"] {
        for role in ["owner", "admin"] {
            world.member(role).get(list).await.ok();
        }
        for role in ["member", "viewer", "billing"] {
            let refused = world.member(role).get(list).await.refused("forbidden");
            assert_eq!(refused.body["required_permission"], "audit:read");
        }
        world.api_key(["members:read"]).get(list).await.refused("scope-missing");
        world.api_key(["audit:read"]).get(list).await.ok();
        world.anonymous().get(list).await.refused("unauthenticated");
        assert_eq!(world.stranger().get(list).await.ok().body["data"], json!([]));
    }
    let home = world.home();
    let foreign = world.stranger().get(&format!("/audit-entries?subject_id={home}")).await;
    assert_eq!(foreign.ok().body["data"], json!([]));
}

#[actix_web::test]
async fn filters_narrow_it_and_a_typo_does_not_return_everything() {
    let world = World::new().await;
    let (owner, other) = (world.owner(), world.member("admin"));
    let renamed = rename(&owner, "One").await;
    world.clock.advance(chrono::Duration::minutes(5));
    let between = world.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    world.clock.advance(chrono::Duration::minutes(5));
    let hooked = other.post("/webhook-endpoints", hook()).await.created();
    let distant = other.with("x-forwarded-for", "203.0.113.9");
    rename(&distant, "Two").await;

    let all = owner.get("/audit-entries?order=created_at").await.ok();
    let actor = rows(&all)[0]["actor"]["id"].as_str().expect("an id").to_owned();
    let (hooked, home) = (hooked.id(), world.home());
    let request = renamed.header("x-request-id");
    let (one, hooks, two) = ("workspace.updated", "webhook_endpoint.created", "workspace.updated");
    for (filter, expected) in [
        (format!("actor_id={actor}"), vec![one]),
        (format!("subject_id={hooked}"), vec![hooks]),
        (format!("subject_id={hooked}&subject_id={home}"), vec![one, hooks, two]),
        (format!("request_id={request}"), vec![one]),
        (format!("created_after={between}"), vec![hooks, two]),
        (format!("created_before={between}"), vec![one]),
        ("action=webhook_endpoint.created".into(), vec![hooks]),
        ("action=webhook_endpoint.created&subject_type=workspace".into(), vec![]),
        ("subject_type=workspace".into(), vec![one, two]),
        ("actor_type=api_key".into(), vec![one, hooks, two]),
        ("actor_type=user".into(), vec![]),
        ("ip=203.0.113.9".into(), vec![two]),
        ("outcome=done".into(), vec![one, hooks, two]),
        ("outcome=refused".into(), vec![]),
        ("subject_id=nonsense".into(), vec![]),
        (format!("actor_id={home}"), vec![]),
    ] {
        let found = owner
            .get(&format!("/audit-entries?order=created_at&{filter}"))
            .await
            .ok();
        assert_eq!(column(&found, "/action"), expected, "{filter}");
    }
    for (filter, code) in [
        ("actoin=webhook_endpoint.created", "unknown-parameter"),
        ("outcome=perhaps", "invalid-parameter"),
        ("created_after=yesterday", "invalid-parameter"),
        ("action=agent%00created", "invalid-parameter"),
        ("limit=0", "invalid-parameter"),
        ("cursor=AAAA", "invalid-cursor"),
    ] {
        owner.get(&format!("/audit-entries?{filter}")).await.refused(code);
    }
}

#[actix_web::test]
async fn pages_neither_repeat_nor_skip_while_entries_arrive() {
    let world = World::new().await;
    let owner = world.owner();
    for n in 0..20 {
        rename(&owner, &format!("Name {n}")).await;
    }
    for (order, expected) in [("-created_at", 20), ("created_at", 26)] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = owner
                .get(&format!("/audit-entries?limit=7&order={order}{after}"))
                .await
                .ok();
            seen.extend(column(&page, "/id"));
            // Newest first, those that arrive meanwhile are before the first page; oldest first, they are on the last.
            if pages < 3 {
                rename(&owner, &format!("{order} {pages}")).await;
            }
            pages += 1;
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (expected, expected), "{order}");
        let mut sorted = seen.clone();
        sorted.sort();
        if order == "-created_at" {
            sorted.reverse();
        }
        assert_eq!(seen, sorted, "{order}");
    }
    let first = owner.get("/audit-entries?limit=7").await.ok();
    let cursor = first.text_at("/next_cursor");
    owner
        .get(&format!("/audit-entries?limit=7&outcome=done&cursor={cursor}"))
        .await
        .refused("invalid-cursor");
    world
        .stranger()
        .get(&format!("/audit-entries?cursor={cursor}"))
        .await
        .refused("invalid-cursor");
}

#[actix_web::test]
async fn no_secret_is_ever_in_it() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "owner");
    let session = login(&world, &person).await;
    let owner = &session.caller;
    let mut secrets = vec![session.access.clone(), session.refresh.clone(), PASSWORD.to_owned()];
    let key = owner.post("/api-keys", json!({ "name": "CI" })).await.created();
    secrets.push(key.text_at("/secret"));
    owner
        .patch(&key.path(), json!({ "permissions": ["agents:read"] }))
        .await
        .ok();
    let new =
        json!({ "url": "https://hooks.example.com/in", "events": ["*"], "headers": { "x-token": "hunter2-hunter2" } });
    let endpoint = owner.post("/webhook-endpoints", new).await.created();
    secrets.extend([endpoint.text_at("/secret"), "hunter2-hunter2".to_owned()]);
    let rotated = owner
        .post(
            &format!("{}/secret/rotate", endpoint.path()),
            json!({ "grace_seconds": 3600 }),
        )
        .await
        .ok();
    secrets.push(rotated.text_at("/secret"));
    owner.act(&format!("{}/secret/reveal", endpoint.path())).await.ok();

    let log = owner.get("/audit-entries").await.ok();
    let actions = column(&log, "/action");
    for action in [
        "api_key.created",
        "api_key.updated",
        "webhook_endpoint.created",
        "webhook_endpoint.secret_revealed",
    ] {
        assert!(
            actions.iter().any(|known| known == action),
            "{action} is not in {actions:?}"
        );
    }
    let revealed = rows(&log)
        .into_iter()
        .find(|row| row["action"] == "webhook_endpoint.secret_revealed")
        .expect("it was found");
    assert_eq!(revealed["session_id"], session.session.as_str());
    assert_eq!(revealed["subject"]["id"], endpoint.id());
    for secret in secrets {
        let stored = format!("SELECT count(*) FROM guildhall.audit_log l WHERE l::text LIKE '%{secret}%'");
        assert!(!log.text.contains(&secret) && world.count(&stored) == 0, "{secret}");
    }
}
