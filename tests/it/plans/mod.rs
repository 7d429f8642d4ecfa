//! Every statement behind every operation, by the plan that it really ran with, as the role that serves, under row-level security, in tables
//! of a hundred thousand rows: no table is read from end to end, and no filter throws masses away.

mod tables;
mod wiretap;

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use guildhall::kernel::id::public;
use serde_json::{Value, json};

use crate::{
    database::{Database, text},
    isolation::routes::{
        foreign::controls,
        operations::{self, Operation},
        principals::signed_in,
        things::Maker,
    },
    rules::none,
    world::{Caller, World},
};
use tables::Registry;
use wiretap::Wiretap;

/// What one look into a table may read at most.
const MOST: f64 = 1_000.0;

/// Judges plans.
struct Judge {
    wire: Wiretap,
    registry: Registry,
    broken: BTreeSet<String>,
    /// Which of the registry's statements that read all did so.
    whole: BTreeSet<String>,
    looks: usize,
}

impl Judge {
    /// Judges what ran since the last time.
    fn judge(&mut self, during: &str) {
        for heard in self.wire.take() {
            let statement = heard["Query Text"].as_str().unwrap_or_default().to_owned();
            if self.registry.whole.contains_key(&statement) {
                self.whole.insert(statement);
                continue;
            }
            self.node(&heard["Plan"], during, &statement);
        }
    }

    fn node(&mut self, node: &Value, during: &str, statement: &str) {
        for below in node["Plans"].as_array().into_iter().flatten() {
            self.node(below, during, statement);
        }
        let kind = node["Node Type"].as_str().unwrap_or_default();
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        let thrown = ["Filter", "Index Recheck", "Join Filter"].map(|by| number(&format!("Rows Removed by {by}")));
        let read = (number("Actual Rows") + thrown.iter().sum::<f64>()) * number("Actual Loops");
        let Some(relation) = node["Relation Name"].as_str().filter(|_| kind.contains("Scan")) else {
            return;
        };
        self.looks += 1;
        let table = parent(relation);
        let full = self.registry.full.contains_key(table);
        if (full && kind.contains("Seq Scan")) || read > MOST {
            let by = node["Index Name"].as_str().unwrap_or("no index");
            let filter = node["Filter"].as_str().unwrap_or_default();
            let statement: String = statement.chars().take(300).collect();
            self.broken.insert(format!(
                "{during}: {kind} of {relation} by {by} reads {read} rows, throwing away {thrown:?}: {filter}\n    {statement}"
            ));
        }
    }
}

/// The table that a partition belongs to.
fn parent(relation: &str) -> &str {
    match relation.rsplit_once('_') {
        Some((table, part)) if part == "default" || (part.len() == 6 && part.bytes().all(|b| b.is_ascii_digit())) => {
            table
        }
        _ => relation,
    }
}

/// A value of the registry as it stands in an address.
fn value(world: &World, text_of: &str) -> String {
    let asked =
        |expression: &str| text(&mut world.superuser(), expression).unwrap_or_else(|| panic!("{text_of}: nothing"));
    let bytes = text_of.as_bytes();
    match text_of.strip_prefix('=') {
        Some(expression) => asked(expression),
        None if bytes.get(3) == Some(&b':') => public(&text_of[..3], asked(&text_of[4..]).parse().expect("a UUID")),
        None => text_of.to_owned(),
    }
}

/// The lists of the document with their filters, the id in the path among them.
fn lists() -> BTreeMap<String, (Operation, BTreeSet<String>)> {
    let filters = |one: &Operation| {
        let ids = one.places.iter().map(|(name, _)| name.clone());
        ids.chain(one.filters.iter().cloned()).collect()
    };
    operations::all()
        .into_iter()
        .filter(|one| one.paged)
        .map(|one| (one.id.clone(), (one.clone(), filters(&one))))
        .collect()
}

#[test]
fn every_list_and_every_filter_has_its_plan_looked_at() {
    let registry = Registry::read();
    let described: BTreeMap<String, BTreeSet<String>> =
        lists().into_iter().map(|(id, (_, filters))| (id, filters)).collect();
    let all = |(id, own): (String, BTreeMap<String, Vec<String>>)| {
        let known = described.get(&id).cloned().unwrap_or_default();
        let shared = registry.shared.keys().filter(|name| known.contains(*name)).cloned();
        (id, own.into_keys().chain(shared).collect())
    };
    for (list, filters) in registry
        .pairs
        .iter()
        .flat_map(|(id, pairs)| pairs.iter().map(move |pair| (id, pair)))
    {
        let known = described.get(list).cloned().unwrap_or_default();
        assert!(
            filters.len() > 1 && filters.keys().all(|one| known.contains(one)),
            "{list}: {filters:?}"
        );
    }
    let tried: BTreeMap<String, BTreeSet<String>> = registry.lists.into_iter().map(all).collect();
    assert_eq!(
        tried, described,
        "tests/it/registry/plans.toml is not what the document says"
    );
}

#[test]
fn every_table_is_filled_or_says_why_not() {
    let tables: toml::Table = toml::from_str(include_str!("../registry/tables.toml")).expect("the registry of tables");
    let classes = ["tenant", "shared", "kernel", "reference", "excluded"];
    let all: BTreeSet<String> = classes
        .iter()
        .filter_map(|class| tables[*class].as_table())
        .flat_map(|class| class.keys().cloned())
        .collect();
    let Registry { full, small, .. } = Registry::read();
    let said: BTreeSet<String> = full.keys().chain(small.keys()).cloned().collect();
    assert_eq!(
        said.len(),
        full.len() + small.len(),
        "a table is filled and says why not"
    );
    assert_eq!(
        said, all,
        "tests/it/registry/plans.toml and tables.toml name the same tables"
    );
}

/// A filter with one value, as it stands in an address. `metadata` has a key and a value.
fn question(world: &World, filter: &str, one: &str) -> String {
    let value = value(world, one);
    let (name, value) = match value.split_once('=') {
        Some((key, value)) if filter == "metadata" => (format!("metadata[{key}]"), value),
        _ => (filter.to_owned(), value.as_str()),
    };
    let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    format!("&{name}={encoded}")
}

/// The filters of a list that are asked together, as they stand in an address.
fn together(world: &World, registry: &Registry, list: &Operation) -> BTreeSet<String> {
    let pairs = registry.pairs.get(&list.id).into_iter().flatten();
    let asked = pairs.map(|pair| pair.iter().map(|(filter, one)| question(world, filter, one)).collect());
    asked.collect()
}

/// Asks a list for its pages: two of them in every order, and filtered by each value.
async fn walk(world: &World, judge: &mut Judge, list: &Operation, caller: &Caller) {
    let mut values = judge.registry.shared.clone();
    values.extend(judge.registry.lists.get(&list.id).cloned().unwrap_or_default());
    let mut path = list.path.clone();
    for (name, _) in &list.places {
        path = path.replace(&format!("{{{name}}}"), &value(world, &values[name][0]));
    }
    let mut queries = vec![(String::new(), true)];
    for filter in &list.filters {
        for (n, one) in values.get(filter).into_iter().flatten().enumerate() {
            queries.push((question(world, filter, one), n == 0));
        }
        // Either of two values.
        if let Some([one, other, ..]) = values.get(filter).map(Vec::as_slice)
            && !filter.contains("before")
            && !filter.contains("after")
        {
            queries.push((question(world, filter, one) + &question(world, filter, other), true));
        }
    }
    let pairs = together(world, &judge.registry, list);
    queries.extend(pairs.iter().map(|pair| (pair.clone(), false)));
    let changes = list.filters.iter().any(|filter| filter == "updated_after");
    let orders = ["-created_at", "created_at", "-updated_at", "updated_at"];
    // One after the other, as on a connection that has lived for a while: what is common first, then what is not.
    let common = values
        .get("metadata")
        .filter(|_| list.filters.iter().any(|filter| filter == "metadata"));
    if let Some(common) = common.and_then(|values| values.get(1)) {
        let page = format!(
            "{path}?limit=5&order=-created_at{}",
            question(world, "metadata", common)
        );
        for _ in 0..8 {
            caller.get(&page).await.ok();
        }
        judge.judge(&page);
    }
    for (query, finds) in queries {
        // The indexes that answer two filters are in the order of creation.
        let all = changes && !pairs.contains(&query);
        for order in &orders[..if all { 4 } else { 2 }] {
            let page = format!("{path}?limit=5&order={order}{query}");
            let first = caller.get(&page).await.ok();
            judge.judge(&page);
            let rows = first.body["data"].as_array().map_or(0, Vec::len);
            if finds && rows == 0 {
                judge
                    .broken
                    .insert(format!("{page}: finds nothing, and proves nothing"));
            }
            if let Some(cursor) = first.body["next_cursor"].as_str() {
                caller.get(&format!("{page}&cursor={cursor}")).await.ok();
                judge.judge(&format!("the second page of {page}"));
            }
        }
    }
}

#[actix_web::test]
async fn no_statement_reads_masses() {
    let mut database = Database::migrated();
    let wire = Wiretap::on(&mut database);
    let world = World::apart(database).await;
    let (owner, person) = signed_in(&world, world.home(), "owner").await;
    let all = operations::all();
    let mut maker = Maker::at_home(&world, &owner, &person);
    let kinds = |one: &Operation| {
        let body = one.body_ids.iter().map(|(_, prefix)| prefix.clone());
        let path = one.places.iter().filter_map(|(_, prefix)| prefix.clone());
        body.chain(path).collect::<Vec<_>>()
    };
    let kinds: BTreeSet<String> = all.iter().filter(|one| !one.public).flat_map(kinds).collect();
    let things = maker.one_of_each(kinds.iter().map(String::as_str)).await;
    prepare(&world, &owner, &things).await;
    world.run_jobs().await;
    let (mut admin, home) = (world.superuser(), world.home().uuid().to_string());
    let filling = move || {
        let registry = Registry::read();
        registry.fill(&mut admin, &home);
        registry
    };
    // The server goes on meanwhile: it shares this thread.
    let registry = tokio::task::spawn_blocking(filling).await.expect("filled");
    wire.take();

    let mut judge = Judge {
        wire,
        registry,
        broken: BTreeSet::new(),
        whole: BTreeSet::new(),
        looks: 0,
    };
    for (_, (list, _)) in lists() {
        walk(&world, &mut judge, &list, &owner).await;
    }
    let mut asked = Vec::new();
    for operation in all.into_iter().filter(|one| !one.public) {
        let id = match operation.subject() {
            Some(prefix) => maker.make(prefix).await,
            None => String::new(),
        };
        judge.judge(&format!("making what {} is asked about", operation.id));
        asked.push((operation, id));
    }
    // What may end the caller's own session comes last.
    asked.sort_by_key(|(operation, _)| (operation.id == "workspace_leave", operation.permission.is_none()));
    let (bodies, mut known) = (controls().bodies, 0);
    for (mut operation, id) in asked {
        if let Some(body) = bodies.get(&operation.id) {
            operation.body = Some(serde_json::from_str(body).expect("JSON"));
        }
        let body = operation.body_with(&things);
        let answer = owner.ask(operation.method.clone(), &operation.address(&id), body).await;
        if answer.status.is_server_error() {
            judge.broken.insert(format!("{}: {}", operation.id, answer.text));
        }
        // Whoever has it already is told so, by an answer that is held against the document like every other.
        if answer.status.is_success() && operation.tagged.contains("304") {
            let ask = owner.get(&operation.address(&id));
            let again = ask.header("if-none-match", answer.header("etag")).await;
            assert_eq!(again.status, 304, "{}", operation.id);
            known += 1;
        }
        judge.judge(&operation.id);
    }
    assert!(known > 15, "only {known} answers were known already");
    world.run_jobs().await;
    // Some of what happened is followed up a minute later.
    world.clock.advance(Duration::seconds(61));
    world.run_jobs().await;
    judge.judge("jobs");
    let unheard = judge
        .registry
        .whole
        .into_keys()
        .filter(|one| !judge.whole.contains(one));
    none("statements that do not read all, or are none", unheard.collect());
    assert!(judge.looks > 500, "only {} looks into tables were heard", judge.looks);
    none("statements that read masses", judge.broken.into_iter().collect());
}

/// What the tables need one row of, and making things leaves none.
async fn prepare(world: &World, owner: &Caller, things: &BTreeMap<String, String>) {
    let hold = json!({ "reason": "abuse", "note": "One." });
    owner
        .post(&format!("/licenses/{}/suspend", things["lic"]), hold)
        .await
        .ok();
    let tags = json!({ "tier": "one" });
    let product = json!({ "code": "once", "name": "Once", "metadata": tags });
    let twice = owner.post("/products", product).header("idempotency-key", "one");
    twice.await.created();
    let customer = json!({ "email": "tagged@example.com", "metadata": tags });
    owner.post("/customers", customer).await.created();
    let config = json!({ "model": "sandbox", "prompt": "Say {{ input.say }}" });
    let agent = json!({ "name": "Tagged", "framework": "openai", "config": config, "metadata": tags });
    owner.post("/agents", agent).await.created();
    let home = world.home().uuid();
    world.admin(&format!(
        "SET search_path = guildhall, public; SET app.reseller = 'none'; SET app.customer = 'none'; \
         INSERT INTO license_renewals (workspace_id, license_id, ref, kind, periods) \
         SELECT workspace_id, id, 'one', 'periods', 1 FROM licenses WHERE workspace_id = '{home}' LIMIT 1; \
         INSERT INTO audit_checkpoints (workspace_id, seq, hash, kid, signature) VALUES ('{home}', 1, '\\x00', 'one', '\\x00'); \
         INSERT INTO audit_seals (workspace_id, seq, entry_id, hash) VALUES ('{home}', 1, gen_random_uuid(), '\\x00'); \
         INSERT INTO mails (workspace_id, id, template, recipient, dedupe_key) VALUES ('{home}', gen_random_uuid(), 'one', 'one', 'one')",
    ));
}
