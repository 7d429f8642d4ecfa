//! An endpoint without a database, with everything that stands around every request, against one with nothing around it.

use std::{net::SocketAddr, sync::Arc};

use actix_web::http::{Method, StatusCode};
use anyhow::Result;

use super::{pairs, ratio};
use crate::{
    Options,
    bare::{Bare, NOBODY, PATH},
    fixture::Bench,
    load::{self, Make, Subject},
    report::Row,
    stack::CALLERS,
};

pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let judge = |status, body: &[u8]| status == StatusCode::OK && body == NOBODY;
    // Both are asked the same, by a visitor who shows nothing.
    let host = bench.stack.address.to_string();
    let request = load::request(&Method::GET, PATH, &[("host", &host)], "");
    let asked = |address: SocketAddr| {
        let request = request.clone();
        let make: Make = Arc::new(move |_| request.clone());
        Subject { address, make, judge }
    };
    let bare = Bare::start()?;
    let (subject, ceiling) = (asked(bench.stack.address), &asked(bare.address));
    let pairs = pairs(bench, options, &subject, |period| async move {
        Ok(load::closed(ceiling, CALLERS, period).await?.rate())
    })
    .await?;
    Ok(ratio(
        "http.bare",
        "no database, everything on; bare actix-web",
        &pairs,
        0.7,
    ))
}
