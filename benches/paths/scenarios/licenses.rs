//! Is this licence valid on this machine? Against the transaction that finds it out in three round trips.

use actix_web::http::{Method, StatusCode};
use anyhow::Result;
use diesel::{QueryDsl, RunQueryDsl};
use serde_json::json;

use super::{against_one, context, half, of_pgbench, ratio};
use crate::{Options, fixture::Bench, report::Row};

pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let judge = |status, body: &[u8]| status == StatusCode::OK && contains(body, b"\"valid\":true");
    let requests = bench.licenses.iter().map(|license| {
        let asked =
            json!({ "key": license.key, "nonce": "0123456789abcdef", "scope": { "fingerprint": license.fingerprint } });
        (Method::POST, "/licenses/validate".to_owned(), Some(asked))
    });
    let subject = bench.subject(requests.collect(), judge);
    let (facts, one) = statements(bench)?;
    let pairs = of_pgbench(bench, options, &subject, &facts).await?;
    let what = "validate by key, machine scope, signed; pgbench, one transaction";
    let mut rows = ratio("licenses.validate", what, &pairs, 0.45);
    rows.push(against_one("licenses.validate", bench, options, &pairs, one)?);
    rows.push(half("licenses.validate", &subject, &pairs, options).await?);
    Ok(rows)
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

diesel::table! {
    guildhall.license_keys (id) {
        id -> Uuid,
        license_id -> Uuid,
        key_hash -> Binary,
    }
}
diesel::table! {
    guildhall.machines (id) {
        id -> Uuid,
        license_id -> Uuid,
        fingerprint_hash -> Binary,
    }
}
diesel::allow_tables_to_appear_in_same_query!(license_keys, machines);
diesel::joinable!(machines -> license_keys (license_id));

/// What is asked about each licence: inside a transaction, and alone. The hashes are looked up: they are made with a secret of the deployment.
fn statements(bench: &Bench) -> Result<(Vec<String>, Vec<String>)> {
    use diesel::{ExpressionMethods, JoinOnDsl};
    let hashes: Vec<(Vec<u8>, Vec<u8>)> = license_keys::table
        .inner_join(machines::table.on(machines::license_id.eq(license_keys::license_id)))
        .select((license_keys::key_hash, machines::fingerprint_hash))
        .limit(bench.licenses.len() as i64)
        .load(&mut bench.stack.administrator()?)?;
    let context = context(bench);
    let asked = hashes.into_iter().map(|(key, machine)| {
        let what = format!("'\\x{}', NULL, NULL, '\\x{}'", hex::encode(key), hex::encode(machine));
        (
            format!("SELECT guildhall.license_facts({what})"),
            format!("SELECT guildhall.license_glance({context}, {what});\n"),
        )
    });
    Ok(asked.unzip())
}
