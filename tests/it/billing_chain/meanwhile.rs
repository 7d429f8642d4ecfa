//! What staff does to a licence or a policy in the very moment in which a payment is applied.

use std::cell::Cell;

use diesel::{PgConnection, connection::SimpleConnection};
use futures_util::future;
use serde_json::json;

use super::Shop;
use crate::world::{Answer, patience::until};

/// Lets whoever writes to a table wait in the midst of their transaction until the gate is opened.
struct Gate {
    table: &'static str,
    held: PgConnection,
}

/// Whether somebody waits for a lock on a row of a table.
fn waits_for(shop: &Shop, table: &str) -> bool {
    let blocked = format!(
        "SELECT count(*) AS count FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0
         AND datname = current_database() AND query LIKE 'SELECT \"{table}\".%'"
    );
    shop.world.count(&blocked) > 0
}

impl Gate {
    fn close(shop: &Shop, table: &'static str) -> Gate {
        shop.world.admin(&format!(
            "CREATE FUNCTION guildhall.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock(4712); RETURN NULL; END $$;
             CREATE TRIGGER wait AFTER INSERT ON guildhall.{table} FOR EACH ROW EXECUTE FUNCTION guildhall.wait()"
        ));
        let mut held = shop.world.superuser();
        held.batch_execute("SELECT pg_advisory_lock(4712)").unwrap();
        Gate { table, held }
    }

    fn remove(shop: &Shop, table: &str) {
        shop.world.admin(&format!(
            "DROP TRIGGER wait ON guildhall.{table}; DROP FUNCTION guildhall.wait()"
        ));
    }
}

async fn somebody_waits(shop: &Shop) {
    let waits = "SELECT count(*) AS count FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND NOT granted";
    until("whoever waits at the gate", async || shop.world.count(waits) == 1).await;
}

/// Asks until there is an answer that is none of a lock's that was waited for in vain: a slow machine takes longer than the second that it is.
async fn insist<A: IntoFuture<Output = Answer>>(ask: impl Fn() -> A) {
    let mut answer = ask().await;
    while answer.status == 503 {
        answer = ask().await;
    }
    answer.ok();
}

/// `one` waits at the gate; `other` begins then, and the gate is opened once it waits for a row of `table` or is done.
async fn meet(shop: &Shop, gate: Gate, one: impl Future<Output = ()>, other: impl Future<Output = ()>, table: &str) {
    let done = Cell::new(false);
    let closed = gate.table;
    let other = async {
        somebody_waits(shop).await;
        let opens = async {
            until("the other", async || done.get() || waits_for(shop, table)).await;
            drop(gate.held);
        };
        let other = async {
            other.await;
            done.set(true);
        };
        future::join(opens, other).await;
    };
    future::join(one, other).await;
    Gate::remove(shop, closed);
}

#[actix_web::test]
async fn what_is_paid_for_while_a_policy_changes_is_by_what_it_becomes() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let pro = staff.get("/policies?code=pro").await.ok().body["data"][0].clone();
    shop.buys("guildhall_pro_month");
    let gate = Gate::close(&shop, "licenses");
    let pays = async { shop.settles().await };
    let edits = async {
        let path = format!("/policies/{}", pro["id"].as_str().unwrap());
        insist(|| staff.patch(&path, json!({ "grace_seconds": 7_200 }))).await;
    };
    meet(&shop, gate, pays, edits, "policies").await;
    shop.settles().await;
    assert_eq!(shop.plan().await, "pro");
    let license = staff.get("/licenses").await.ok().body["data"][0].clone();
    let pro = staff.get("/policies?code=pro").await.ok().body["data"][0].clone();
    assert_eq!(license["terms"]["rules"]["grace_seconds"], 7_200);
    assert_eq!(license["terms_version"], pro["version"]);
}

#[actix_web::test]
async fn a_hold_that_is_placed_while_the_price_changes_stands() {
    let shop = Shop::open().await;
    let staff = shop.staff();
    let subscription = shop.buys("guildhall_pro_month");
    shop.settles().await;
    let license = staff.get("/licenses").await.ok().text_at("/data/0/id");
    shop.changes(&subscription, "guildhall_business_month");
    let gate = Gate::close(&shop, "license_holds");
    let suspends = async {
        let path = format!("/licenses/{license}/suspend");
        insist(|| staff.post(&path, json!({ "reason": "abuse" }))).await;
    };
    let follows = async { shop.settles().await };
    meet(&shop, gate, suspends, follows, "licenses").await;
    shop.settles().await;
    assert_eq!(shop.count("license_holds", "reason = 'abuse'"), 1);
    assert_eq!(shop.count("licenses", "state = 'active'"), 0);
    assert_eq!(shop.plan().await, "free", "the hold stands");
}
