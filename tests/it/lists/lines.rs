//! All rows at once, a line each.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::{Stage, names, rows};
use crate::{
    rules::none,
    world::{Answer, World},
};

const LINES: &str = "application/x-ndjson";

fn read(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), LINES);
    assert!(answer.text.is_empty() || answer.text.ends_with('\n'));
    let lines = answer.text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a row a line"))
        .collect()
}

/// Deliveries of the home workspace, a second apart.
fn fill(world: &World, numbers: RangeInclusive<usize>) {
    let (first, last) = (numbers.start(), numbers.end());
    let home = world.home().uuid();
    world.admin(&format!(
        "SET app.reseller = 'none'; \
         INSERT INTO guildhall.webhook_deliveries (workspace_id, id, endpoint_id, event_id, event_type, state, created_at, finished_at) \
         SELECT '{home}', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), CASE WHEN n <= 3 THEN 'run.failed' ELSE 'run.completed' END, \
                'delivered', timestamptz '2026-01-01Z' + n * interval '1 second', now() FROM generate_series({first}, {last}) n"
    ));
}

#[actix_web::test]
async fn lists_are_given_in_lines_where_the_document_says_so() {
    let stage = Stage::set().await;
    let document = stage.world.anonymous().get("/openapi.json").await.ok().body;
    let (mut broken, mut exported) = (Vec::new(), Vec::new());
    for (list, address) in stage.lists() {
        let content = document.pointer(&format!(
            "/paths/{}/get/responses/200/content",
            list.path.replace('/', "~1")
        ));
        let offered = content.is_some_and(|content| content.get(LINES).is_some());
        // Before, for what is taken along becomes an entry itself.
        let paged = rows(&stage.owner, &address, "", 100).await;
        let asked = stage.owner.get(&address).header("accept", LINES).await;
        if !offered {
            asked.refused("not-acceptable");
        } else if names(&read(&asked.ok())) != names(&paged) {
            broken.push(format!("{}: not the same rows in lines", list.id));
        } else {
            exported.push(list.id);
        }
        for (accept, media) in [
            ("text/html", None),
            ("text/html, */*;q=0.1", Some("application/json")),
            ("application/*", Some("application/json")),
            ("application/json, application/x-ndjson", Some("application/json")),
        ] {
            let answer = stage.owner.get(&address).header("accept", accept).await;
            match media {
                None => drop(answer.refused("not-acceptable")),
                Some(media) => assert_eq!(answer.ok().header("content-type"), media, "{accept}"),
            }
        }
    }
    none("lists", broken);
    assert_eq!(exported, ["audit_entries_list", "webhook_deliveries_list"]);
}

#[actix_web::test]
async fn all_rows_come_in_their_order_and_narrowed() {
    let world = World::new().await;
    fill(&world, 1..=2_500);
    let owner = world.owner();
    let all = read(&owner.get("/webhook-deliveries").header("accept", LINES).await.ok());
    assert_eq!(all.len(), 2_500);
    assert!(all.is_sorted_by(|one, next| one["created_at"].as_str() > next["created_at"].as_str()));
    assert_eq!(names(&all), names(&rows(&owner, "/webhook-deliveries", "", 100).await));

    let some = "/webhook-deliveries?event_type=run.failed&order=created_at&created_after=2026-01-01T00:00:01Z";
    let some = read(&owner.get(some).header("accept", LINES).await.ok());
    let times: Vec<_> = some.iter().map(|row| row["created_at"].clone()).collect();
    assert_eq!(times, ["2026-01-01T00:00:02.000Z", "2026-01-01T00:00:03.000Z"]);

    let none = "/webhook-deliveries?event_type=run.cancelled";
    assert!(read(&owner.get(none).header("accept", LINES).await.ok()).is_empty());
    let stranger = world
        .stranger()
        .get("/webhook-deliveries")
        .header("accept", LINES)
        .await;
    assert!(read(&stranger.ok()).is_empty());
    for page in ["limit=10", "cursor=x"] {
        let page = owner
            .get(&format!("/webhook-deliveries?{page}"))
            .header("accept", LINES);
        let refusal = page.await;
        assert!(["invalid-parameter", "invalid-cursor"].contains(&refusal.text_at("/code").as_str()));
    }
    let key = world.api_key(["agents:read"]).get("/webhook-deliveries");
    key.header("accept", LINES).await.refused("scope-missing");
}

#[actix_web::test]
async fn more_than_a_hundred_thousand_rows_are_not_given_at_once() {
    let world = World::new().await;
    fill(&world, 1..=100_001);
    let owner = world.owner();
    let refused = owner.get("/webhook-deliveries").header("accept", LINES).await;
    let refused = refused.refused("too-many-rows");
    assert_eq!(refused.body["limit"], 100_000);
    let narrower = owner.get("/webhook-deliveries?created_before=2026-01-02T03:46:41Z");
    assert_eq!(read(&narrower.header("accept", LINES).await.ok()).len(), 100_000);

    // What comes while an answer is under way that has room for no more is not left out without a word.
    world.admin("DELETE FROM guildhall.webhook_deliveries WHERE created_at = timestamptz '2026-01-02T03:46:41Z'");
    let address = format!("{}/api/v1/webhook-deliveries?order=created_at", world.base);
    let ascending = reqwest::Client::builder().no_proxy().build().expect("a client");
    let ascending = ascending
        .get(address)
        .bearer_auth(owner.credential())
        .header("accept", LINES);
    let mut answer = ascending.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(answer.chunk().await.expect("the first rows").is_some());
    fill(&world, 100_002..=100_002);
    let mut whole = true;
    loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    assert!(!whole, "it looked like all of them");
}

#[actix_web::test]
async fn to_take_everything_has_a_price_of_its_own() {
    let world = World::with(&[("LIMITS__FACTOR", "1")]).await;
    let owner = world.owner();
    // What gives nothing costs none.
    let weak = world.api_key(["products:read"]);
    for _ in 0..4 {
        let asked = weak.get("/audit-entries").header("accept", LINES).await;
        asked.refused("scope-missing");
        let asked = owner.get("/audit-entries?nope=1").header("accept", LINES).await;
        asked.refused("unknown-parameter");
    }
    for (left, list) in [
        (2, "/webhook-deliveries"),
        (1, "/audit-entries"),
        (0, "/webhook-deliveries"),
    ] {
        let given = owner.get(list).header("accept", LINES).await.ok();
        assert!(given.header("ratelimit").starts_with(&format!("\"export\";r={left};")));
        assert!(given.header("ratelimit-policy").starts_with("\"export\";q=3;w=3600"));
    }
    let refused = owner.get("/audit-entries").header("accept", LINES).await;
    assert!(refused.header("ratelimit").starts_with("\"export\";r=0;"));
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(refused.refused("rate-limited").body["bucket"], "export");
    owner.get("/audit-entries").await.ok();
}

#[actix_web::test]
async fn to_take_the_audit_log_along_is_more_than_to_read_it_and_is_written_down() {
    let world = World::new().await;
    let reader = world.api_key(["audit:read"]);
    reader.get("/audit-entries").await.ok();
    let refused = reader.get("/audit-entries").header("accept", LINES).await;
    assert_eq!(
        refused.refused("scope-missing").body["required_permission"],
        "audit:export"
    );
    let taker = world.api_key(["audit:read", "audit:export"]);
    let some = "/audit-entries?action=api_key.revoked&order=created_at&ip=203.0.113.7&outcome=done&outcome=refused";
    taker.get(some).header("accept", LINES).await.ok();
    let told = world.owner().get("/audit-entries?action=audit_log.exported").await.ok();
    // Whose address was looked for does not stay in a log that nobody can change.
    let asked = json!({ "action": [null, "api_key.revoked"], "outcome": [null, ["done", "refused"]], "ip": "[changed]",
                        "order": [null, "created_at"] });
    assert_eq!(told.body["data"][0]["changes"], asked);
    let written = world.audit();
    let taken = written.iter().filter(|entry| entry.contains("audit_log.exported"));
    assert_eq!(taken.count(), 1, "{written:?}");
}
