//! An endpoint without a database, with everything that stands around every request, against one with nothing around it.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};

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
    let request = Request::get(PATH).header("host", bench.stack.address.to_string());
    let request = request.body(Full::<Bytes>::default()).expect("a plain request");
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
