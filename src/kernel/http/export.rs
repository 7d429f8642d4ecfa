//! A list as pages or, for `Accept: application/x-ndjson`, as all of its rows, a line each.

use std::{future::ready, io, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    body::BoxBody,
    http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue},
    web::Bytes,
};
use futures_util::{
    StreamExt,
    stream::{self, LocalBoxStream},
};
use serde::Serialize;

use super::{
    answers::{Json, write},
    limits::Limits,
};
use crate::kernel::{
    access::Scope,
    audit::{self, Entry},
    db::{Db, Tenant},
    error::{Error, NOT_ACCEPTABLE, Problem, Result, TOO_MANY_ROWS},
    page::{Filters, Page, PageQuery},
};

/// The media type of a row a line.
pub const LINES: &str = "application/x-ndjson";
/// Rows that are given at once.
pub const MOST_ROWS: i64 = 100_000;
/// Rows of one transaction: none is held open while a caller reads.
const SLICE: i64 = 1_000;
/// How often a slice is asked for when there is too much to do.
const TRIES: u32 = 5;

/// Whether the caller wants a list in lines, which only those are given in that are exported.
///
/// # Errors
/// 406 if it accepts nothing that the list is given in.
pub(in crate::kernel) fn wants_lines(headers: &HeaderMap, exported: bool) -> Result<bool, Problem> {
    let accepted: Vec<&str> = headers
        .get_all(ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .collect();
    let accepted = accepted.join(",").to_ascii_lowercase();
    if accepted.trim().is_empty() {
        return Ok(false);
    }
    let lines = if exported { weight(&accepted, LINES) } else { 0.0 };
    let json = weight(&accepted, "application/json");
    match lines.max(json) > 0.0 {
        true => Ok(lines > json),
        false if exported => Err(NOT_ACCEPTABLE.because(format!("Here are application/json and {LINES}."))),
        false => Err(NOT_ACCEPTABLE.because("Here is application/json.")),
    }
}

/// How much a media type is wanted, from 0 to 1: by the most specific range that it is in (RFC 9110 §12.5.1).
fn weight(accepted: &str, media: &str) -> f32 {
    let ranges = accepted.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let precise = match parts.next()? {
            name if name == media => 2,
            "application/*" => 1,
            "*/*" => 0,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        Some((precise, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0))))
    });
    ranges
        .max_by_key(|(precise, _)| *precise)
        .map_or(0.0, |(_, weight)| weight)
}

/// A page of a list, or all of it.
pub enum Listing<T> {
    /// A page.
    Page(Json<Page<T>>),
    /// How the limit of exports stands, and all rows, a line each.
    Lines(
        Vec<(HeaderName, HeaderValue)>,
        LocalBoxStream<'static, io::Result<Bytes>>,
    ),
}

impl<T: Serialize> Responder for Listing<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        match self {
            Listing::Page(page) => write(&page, request),
            Listing::Lines(told, lines) => {
                let mut answer = HttpResponse::Ok();
                for header in told {
                    answer.insert_header(header);
                }
                answer.content_type(LINES).streaming(lines)
            }
        }
    }
}

/// Makes a page by a tenant's question, and turns page after page where the caller wants all rows.
pub struct Lister<F, T> {
    db: Db,
    limits: Limits,
    scope: Scope,
    query: PageQuery<F>,
    list: fn(&mut Tenant<'_>, &PageQuery<F>) -> Result<Page<T>>,
    /// What it is called in the audit log that all rows were taken along.
    action: &'static str,
    left: Left,
}

/// What is left to give of an export.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    /// At most so many rows.
    AtMost(i64),
    /// As many as may be given are, and there are more: they came while it went on.
    TooMany,
    /// Nothing.
    Nothing,
}

impl<F, T> Lister<F, T>
where
    F: Filters + Clone + Send + 'static,
    T: Serialize + Send + 'static,
{
    /// Lists what `list` answers to `query`. That all of it is taken along is an entry of the audit log, of this action.
    pub fn new(
        db: &Db,
        limits: &Limits,
        scope: impl Into<Scope>,
        query: PageQuery<F>,
        list: fn(&mut Tenant<'_>, &PageQuery<F>) -> Result<Page<T>>,
        action: &'static str,
    ) -> Lister<F, T> {
        Lister {
            db: db.clone(),
            limits: limits.clone(),
            scope: scope.into(),
            query,
            list,
            action,
            left: Left::AtMost(MOST_ROWS),
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// The list's, 400 `too-many-rows`, and 429 `rate-limited` for too many exports.
    pub async fn answer(mut self) -> Result<Listing<T>> {
        if !self.query.is_in_lines() {
            let page = self.page(self.scope.clone(), self.query.clone()).await?;
            return Ok(Listing::Page(Json(page)));
        }
        let verdict = self.limits.export(&self.scope).await;
        verdict.result()?;
        let first = match self.begin().await {
            Ok(first) => first,
            Err(error) => {
                self.limits.not_exported(&self.scope, &verdict);
                return Err(error);
            }
        };
        let told = verdict.headers().collect();
        let rest = stream::unfold(self, |mut lister| async move {
            match lister.left {
                Left::AtMost(_) => Some((lister.slice_patiently().await, lister)),
                Left::TooMany => Some((Err(lister.cut_off(&TOO_MANY_ROWS.into())), lister)),
                Left::Nothing => None,
            }
        });
        let lines = stream::once(ready(Ok(first))).chain(rest).boxed_local();
        Ok(Listing::Lines(told, lines))
    }

    /// The first rows, unless there are too many. Who takes which is written down first.
    async fn begin(&mut self) -> Result<Bytes> {
        let whole = self.query.clone();
        self.query.slice(SLICE);
        // Its rows are read in a hall of their own.
        self.scope.call().step_out();
        let first = self.slice().await?;
        if self.left != Left::Nothing {
            self.refuse_too_many(whole).await?;
        }
        let entry = Entry {
            action: self.action,
            changes: self.query.told(),
            ..Entry::default()
        };
        let write_down = move |tx: &mut Tenant<'_>| audit::note(tx, entry).map(drop);
        self.db.tenant(self.scope.of_record(), write_down).await?;
        Ok(first)
    }

    async fn page(&self, scope: Scope, query: PageQuery<F>) -> Result<Page<T>> {
        let list = self.list;
        self.db.tenant(scope, move |tx| list(tx, &query)).await
    }

    /// The next rows. Afterwards none are left if these were the last.
    async fn slice(&mut self) -> Result<Bytes> {
        let page = self.page(self.scope.of_export(), self.query.clone()).await?;
        self.left = match (&page.next_cursor, self.left) {
            (Some(cursor), Left::AtMost(left)) if left > SLICE => {
                self.query.go_on(cursor)?;
                Left::AtMost(left - SLICE)
            }
            (Some(_), _) => Left::TooMany,
            (None, _) => Left::Nothing,
        };
        let mut lines = Vec::new();
        for row in &page.data {
            serde_json::to_writer(&mut lines, row).map_err(anyhow::Error::from)?;
            lines.push(b'\n');
        }
        Ok(lines.into())
    }

    /// The same when the answer has begun: it waits where there is too much to do. What fails cuts the answer off, so that nobody takes it
    /// for all.
    async fn slice_patiently(&mut self) -> io::Result<Bytes> {
        let mut tries = 1;
        loop {
            match self.slice().await {
                Ok(lines) => return Ok(lines),
                Err(Error::Refused(problem)) if matches!(problem.kind().status, 429 | 503) && tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(500) * tries).await;
                    tries += 1;
                }
                Err(error) => return Err(self.cut_off(&error)),
            }
        }
    }

    fn cut_off(&mut self, why: &Error) -> io::Error {
        self.left = Left::Nothing;
        tracing::warn!(error = %why, operation = self.scope.call().operation, "an export was cut off");
        io::Error::other("the export was cut off")
    }

    async fn refuse_too_many(&self, mut whole: PageQuery<F>) -> Result<()> {
        whole.leap(MOST_ROWS);
        match self.page(self.scope.of_export(), whole).await?.has_more {
            true => Err(TOO_MANY_ROWS.with("limit", MOST_ROWS).into()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_precise_range_counts() {
        let lines = |accepted| weight(accepted, LINES);
        assert_eq!(lines("application/x-ndjson"), 1.0);
        assert_eq!(lines("*/*;q=0.1, application/x-ndjson;q=0.5"), 0.5);
        assert_eq!(lines("application/x-ndjson;q=0, */*"), 0.0);
        assert_eq!(lines("application/*;q=0.3,*/*;q=0.2"), 0.3);
        assert_eq!(lines("text/html"), 0.0);
        assert_eq!(lines("application/x-ndjson;q=much"), 0.0);
    }
}
