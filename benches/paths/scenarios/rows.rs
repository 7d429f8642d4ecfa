//! One row by its id, through row-level security, against the transaction that reads it in three round trips.

use actix_web::http::{Method, StatusCode};
use anyhow::{Context, Result};
use guildhall::features::products::ProductId;

use super::{against_one, context, half, of_pgbench, ratio};
use crate::{Options, fixture::Bench, report::Row};

pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let judge = |status, body: &[u8]| status == StatusCode::OK && body.starts_with(b"{");
    let subject = bench.subject(vec![(Method::GET, format!("/products/{}", bench.product), None)], judge);
    let id: ProductId = bench.product.parse().ok().context("the product's id")?;
    let row = format!("SELECT * FROM guildhall.products WHERE id = '{}'", id.uuid());
    let one = format!("{row} LIMIT guildhall.enter({});\n", context(bench));
    let pairs = of_pgbench(bench, options, &subject, &[row]).await?;
    let mut rows = ratio("rows.get", "GET of one row; pgbench, one transaction", &pairs, 0.5);
    rows.push(against_one("rows.get", bench, options, &pairs, vec![one])?);
    rows.push(half("rows.get", &subject, &pairs, options).await?);
    Ok(rows)
}
