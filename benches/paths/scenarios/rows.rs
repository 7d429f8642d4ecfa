//! One row by its id, through row-level security, against the same statements.

use anyhow::{Context, Result};
use guildhall::features::products::ProductId;
use hyper::{Method, StatusCode};

use super::{half, of_pgbench, ratio};
use crate::{Options, fixture::Bench, pgbench::Script, report::Row};

pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let judge = |status, body: &[u8]| status == StatusCode::OK && body.starts_with(b"{");
    let subject = bench.subject(vec![(Method::GET, format!("/products/{}", bench.product), None)], judge);
    let pairs = of_pgbench(bench, options, &subject, &script(bench)?).await?;
    let mut rows = ratio("rows.get", "GET of one row; pgbench, the same SQL", &pairs, 0.5);
    rows.push(half("rows.get", &subject, &pairs, options).await?);
    Ok(rows)
}

/// What the path sends: the opening in one message, the statement, the commit.
fn script(bench: &Bench) -> Result<Script> {
    let id: ProductId = bench.product.parse().ok().context("the product's id")?;
    let (workspace, key, id) = (&bench.workspace, &bench.key_id, id.uuid());
    Ok(Script(vec![format!(
        "\\startpipeline
BEGIN READ ONLY;
SELECT set_config('statement_timeout', '1500', true), set_config('lock_timeout', '1000', true), set_config('app.workspace', '{workspace}', true), set_config('app.actor', 'api_key:{key}', true), set_config('app.reseller', 'none', true), set_config('app.customer', 'none', true);
\\endpipeline
SELECT * FROM guildhall.products WHERE id = '{id}';
COMMIT;
"
    )]))
}
