//! An endpoint without a database, with everything that stands around every request, against one with nothing around it.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use std::sync::Arc;

use super::{pairs, ratio};
use crate::{
    Options, bare,
    fixture::Bench,
    load::{self, Subject},
    report::Row,
    stack::CALLERS,
};

const NOBODY: &str = r#"{"user":null}"#;

pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    let judge = |status, body: &[u8]| status == StatusCode::OK && body == NOBODY.as_bytes();
    let ceiling = Subject {
        address: bare::serve(NOBODY)?,
        make: Arc::new(|_| {
            let request = Request::get("/").header("host", "localhost");
            request.body(Full::<Bytes>::default()).expect("a plain request")
        }),
        judge,
    };
    let mut subject = bench.subject(vec![(Method::GET, "/auth/session".into(), None)], judge);
    let make = subject.make.clone();
    subject.make = Arc::new(move |n| {
        // A visitor shows nothing.
        let mut request = make(n);
        request.headers_mut().remove("authorization");
        request
    });
    let ceiling = &ceiling;
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
