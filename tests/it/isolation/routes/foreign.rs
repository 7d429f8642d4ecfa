//! Another workspace's id is as good as none, wherever it stands: the same answer to the byte, and nothing of the other workspace moves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{
    FOUND, code,
    operations::{self, Operation, nobodys},
    principals::signed_in,
    things::{CANARY, Maker},
};
use crate::{
    rules::none,
    world::{Answer, Caller, World},
};

/// How the owner's own calls succeed, or why they cannot.
#[derive(Deserialize)]
pub struct Controls {
    pub bodies: BTreeMap<String, String>,
    refused: BTreeMap<String, String>,
}

pub fn controls() -> Controls {
    toml::from_str(include_str!("../../registry/controls.toml")).expect("a registry that can be read")
}

/// What of an answer may not differ between an id that is another's and one that is nobody's. The id that was asked for may come back.
fn plain(answer: &Answer, id: &str) -> (u16, Value, BTreeSet<(String, String)>) {
    let mut body: Value = serde_json::from_str(&answer.text.replace(id, "the id")).unwrap_or(Value::Null);
    for changing in ["request_id", "checked_at", "fresh_until", "grace_until", "signed"] {
        body.as_object_mut().and_then(|members| members.remove(changing));
    }
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date" | "content-length"))
        .filter(|(name, _)| !name.as_str().contains("ratelimit"))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    (answer.status.as_u16(), body, headers)
}

/// An id, and the address and the body that hold it.
struct Question {
    id: String,
    path: String,
    body: Option<Value>,
}

/// A stranger's two questions: with what is ours, and with what is nobody's.
struct Probe {
    operation: Operation,
    position: String,
    ours: Question,
    nobodys: Question,
    /// How the answer to both has to be.
    expected: fn(&Answer) -> bool,
}

impl Probe {
    /// What is wrong with the answers.
    async fn ask(&self, stranger: &Caller) -> Option<String> {
        let method = &self.operation.method;
        let ask = |one: &Question| stranger.ask(method.clone(), &one.path, one.body.clone()).into_future();
        let (foreign, unknown) = (ask(&self.ours).await, ask(&self.nobodys).await);
        let what = format!("{} in {}", self.operation.id, self.position);
        let (one, other) = (plain(&foreign, &self.ours.id), plain(&unknown, &self.nobodys.id));
        if one != other {
            let headers: Vec<_> = one.2.symmetric_difference(&other.2).collect();
            return Some(format!(
                "{what}: {} is told from {} {headers:?}",
                foreign.text, unknown.text
            ));
        }
        if !(self.expected)(&foreign) {
            return Some(format!("{what}: {} {}", foreign.status, foreign.text));
        }
        foreign
            .text
            .contains(CANARY)
            .then(|| format!("{what}: {}", foreign.text))
    }

    /// The same question of the owner, who must be answered.
    async fn control(&self, owner: &Caller, refused: &BTreeMap<String, String>) -> Option<String> {
        let Question { path, body, .. } = &self.ours;
        let answer = owner.ask(self.operation.method.clone(), path, body.clone()).await;
        let listed = refused
            .get(&self.operation.id)
            .is_some_and(|known| known == code(&answer));
        (!answer.status.is_success() && !listed).then(|| {
            format!(
                "the owner at {} in {}: {} {}: the probe proves nothing (mend it, or list the code in registry/controls.toml)",
                self.operation.id, self.position, answer.status, answer.text
            )
        })
    }
}

/// Every position of every operation, with things that were made for it.
async fn probes(maker: &mut Maker<'_>, bodies: &BTreeMap<String, String>) -> Vec<Probe> {
    let mut probes = Vec::new();
    for mut operation in operations::all().into_iter().filter(|one| !one.public) {
        if let Some(body) = bodies.get(&operation.id) {
            operation.body = Some(serde_json::from_str(body).expect("JSON"));
        }
        let kinds = operation.body_ids.iter().map(|(_, prefix)| prefix.as_str());
        let others = maker.one_of_each(kinds).await;
        if let Some(prefix) = operation.subject() {
            let body = operation.body_with(&others);
            let question = |id: String| Question {
                path: operation.address(&id),
                body: body.clone(),
                id,
            };
            probes.push(Probe {
                position: "the path".into(),
                ours: question(maker.make(prefix).await),
                nobodys: question(nobodys(prefix)),
                expected: |answer| answer.status == 404 && code(answer) == "not-found",
                operation: operation.clone(),
            });
            continue;
        }
        for (name, prefix) in &operation.queries {
            let question = |id: String| Question {
                path: format!("{}?{name}={id}", operation.address("")),
                body: None,
                id,
            };
            probes.push(Probe {
                position: format!("query/{name}"),
                ours: question(maker.make(prefix).await),
                nobodys: question(nobodys(prefix)),
                expected: |answer| answer.status == 200 && answer.body["data"] == Value::Array(Vec::new()),
                operation: operation.clone(),
            });
        }
        probes.extend(in_body(&operation, &others));
    }
    probes
}

/// Every id of a body in its turn; the others stay ours.
fn in_body(operation: &Operation, others: &BTreeMap<String, String>) -> Vec<Probe> {
    let shown = |pointer: &str| {
        operation
            .body
            .as_ref()
            .is_some_and(|body| body.pointer(pointer).is_some())
    };
    let places = operation.body_ids.iter().filter(|(pointer, _)| shown(pointer));
    let probe = |(pointer, prefix): &(String, String)| {
        let question = |id: String| {
            let mut ids = others.clone();
            ids.insert(prefix.clone(), id.clone());
            Question {
                path: operation.address(""),
                body: operation.body_with(&ids),
                id,
            }
        };
        Probe {
            position: pointer.clone(),
            ours: question(others[prefix].clone()),
            nobodys: question(nobodys(prefix)),
            expected: |answer| answer.status.is_client_error() || answer.body["valid"] == false,
            operation: operation.clone(),
        }
    };
    places.map(probe).collect()
}

/// The kind of thing that a list is of.
fn kind_of(list: &Operation) -> Option<&'static str> {
    let kinds = [
        ("deliveries", "dlv"),
        ("runs", "run"),
        ("executions", "run"),
        ("licenses", "lic"),
        ("machines", "mch"),
        ("policies", "pol"),
        ("api-keys", "key"),
    ];
    kinds
        .into_iter()
        .find(|(name, _)| list.path.ends_with(name))
        .map(|(_, kind)| kind)
}

/// One number for everything that the home workspace has.
fn state(world: &World) -> i64 {
    let home = world.home().uuid();
    let registry = crate::isolation::shape::registry();
    let tables: Vec<String> = registry
        .walled
        .keys()
        .map(|table| {
            let key = if table == "workspaces" { "id" } else { "workspace_id" };
            format!("SELECT coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS n FROM guildhall.{table} t WHERE {key} = '{home}'")
        })
        .collect();
    world.count(&format!(
        "SELECT (sum(n) % 9223372036854775807)::bigint AS count FROM ({}) AS all_rows",
        tables.join(" UNION ALL ")
    ))
}

#[actix_web::test]
async fn a_foreign_id_is_as_good_as_none() {
    let world = World::new().await;
    let (owner, person) = signed_in(&world, world.home(), "owner").await;
    let (stranger, other) = signed_in(&world, world.elsewhere(), "owner").await;
    let controls = controls();
    let probes = probes(&mut Maker::at_home(&world, &owner, &person), &controls.bodies).await;
    // Whoever has nothing of a kind is shown nothing of it, whatever the filter does.
    let all = operations::all();
    let kinds = all
        .iter()
        .flat_map(|one| one.queries.iter().map(|(_, prefix)| prefix.as_str()));
    let listed = all
        .iter()
        .filter(|one| !one.queries.is_empty())
        .filter_map(|one| kind_of(one));
    Maker::elsewhere(&world, &stranger, &other)
        .one_of_each(kinds.chain(listed))
        .await;
    world.run_jobs().await;

    let before = state(&world);
    let mut broken = Vec::new();
    for probe in &probes {
        broken.extend(probe.ask(&stranger).await);
    }
    if state(&world) != before {
        broken.push("rows of the home workspace were changed".into());
    }
    for probe in &probes {
        broken.extend(probe.control(&owner, &controls.refused).await);
    }
    none(FOUND, broken);
    let filtered = std::env::var_os("GUILDHALL_L2").is_some();
    assert!(
        filtered || probes.len() > 60,
        "only {} positions were found",
        probes.len()
    );
}

#[actix_web::test]
async fn a_cursor_leads_nowhere_but_where_it_was_made() {
    let world = World::new().await;
    let (owner, person) = signed_in(&world, world.home(), "owner").await;
    let stranger = world.stranger();
    let mut maker = Maker::at_home(&world, &owner, &person);
    for prefix in ["agt", "run", "whe", "key", "mem", "lic", "mch", "cst", "ent"] {
        for _ in 0..2 {
            maker.make(prefix).await;
        }
    }
    maker.make("dlv").await;
    let (mut broken, mut cursors) = (Vec::new(), 0);
    for operation in operations::all() {
        if !operation.paged || operation.permission.is_none() || operation.subject().is_some() {
            continue;
        }
        let first = owner.get(&format!("{}?limit=1", operation.path)).await.ok();
        let Some(cursor) = first.body["next_cursor"].as_str() else {
            continue;
        };
        cursors += 1;
        let onward = format!("{}?limit=1&cursor={cursor}", operation.path);
        owner.get(&onward).await.ok();
        let mut altered = cursor.to_owned().into_bytes();
        let last = altered.len() - 1;
        altered[last] = if altered[last] == b'A' { b'Q' } else { b'A' };
        let altered = format!(
            "{}?limit=1&cursor={}",
            operation.path,
            String::from_utf8_lossy(&altered)
        );
        for (who, answer) in [
            ("a stranger", stranger.get(&onward).await),
            ("the owner, with a byte changed,", owner.get(&altered).await),
        ] {
            if answer.status != 400 || code(&answer) != "invalid-cursor" {
                broken.push(format!(
                    "{} let {who} on: {} {}",
                    operation.id, answer.status, answer.text
                ));
            }
        }
    }
    none(FOUND, broken);
    let filtered = std::env::var_os("GUILDHALL_L2").is_some();
    assert!(
        cursors >= if filtered { 1 } else { 8 },
        "only {cursors} lists have a second page"
    );
}

#[actix_web::test]
async fn one_key_for_retries_in_two_workspaces_is_two() {
    let world = World::new().await;
    let new = || serde_json::json!({ "code": "twice", "name": CANARY });
    let key = "the same in both";
    let ours = world
        .owner()
        .post("/products", new())
        .header("idempotency-key", key)
        .await
        .created();
    let theirs = world
        .stranger()
        .post("/products", new())
        .header("idempotency-key", key)
        .await
        .created();
    assert_ne!(ours.id(), theirs.id());
    assert_eq!(theirs.header("idempotency-replayed"), "");
}
