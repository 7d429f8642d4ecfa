//! What lists do alike, asked of every list of the document, and what some of them do besides.

mod large;
mod lines;
mod shared;

use std::collections::BTreeMap;

use chrono::Duration;
use serde_json::Value;

use crate::{
    isolation::routes::{
        operations::{self, Operation},
        principals::signed_in,
        things::Maker,
    },
    world::{Caller, World},
};

/// A workspace with at least a row in every list.
struct Stage {
    world: World,
    owner: Caller,
    things: BTreeMap<String, String>,
}

impl Stage {
    async fn set() -> Stage {
        let world = World::new().await;
        let (owner, person) = signed_in(&world, world.home(), "owner").await;
        let kinds = ["key", "mem", "ent", "mch", "dlv", "run"];
        let mut maker = Maker::at_home(&world, &owner, &person);
        let mut things = BTreeMap::new();
        for _ in 0..2 {
            world.clock.advance(Duration::seconds(7));
            things = maker.one_of_each(kinds).await;
            world.run_jobs().await;
        }
        let run = owner.get(&format!("/runs/{}", things["run"])).await.ok();
        things.insert("agt".into(), run.text_at("/agent_id"));
        let home = world.home().uuid();
        world.admin(&format!(
            "INSERT INTO guildhall.audit_checkpoints (workspace_id, seq, hash, kid, signature, created_at) \
             SELECT '{home}', 1000000 + n, '\\x00', 'one', '\\x00', date_trunc('second', now()) + n * interval '1 second' \
             FROM generate_series(1, 3) n"
        ));
        Stage { world, owner, things }
    }

    /// Every list, with its address here.
    fn lists(&self) -> Vec<(Operation, String)> {
        let lists = operations::all().into_iter().filter(|one| one.paged);
        let here = |list: Operation| {
            let address = list.places.iter().fold(list.path.clone(), |path, (name, prefix)| {
                let id = prefix.as_ref().and_then(|prefix| self.things.get(prefix));
                path.replace(&format!("{{{name}}}"), id.map_or("none", String::as_str))
            });
            (list, address)
        };
        lists.map(here).collect()
    }
}

/// All rows of a list, page by page.
async fn rows(caller: &Caller, list: &str, question: &str, limit: usize) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller
            .get(&format!("{list}?limit={limit}{question}{cursor}"))
            .await
            .ok();
        let found = page.body["data"].as_array().expect("rows");
        assert!(found.len() <= limit, "{list}");
        rows.extend(found.iter().cloned());
        assert_eq!(page.body["has_more"], !page.body["next_cursor"].is_null(), "{list}");
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// What tells a row from the others of its list.
fn name(row: &Value) -> String {
    let named = ["id", "number", "seq"].iter().find_map(|field| row.get(*field));
    named.expect("a name").to_string()
}

fn names(rows: &[Value]) -> Vec<String> {
    rows.iter().map(name).collect()
}
