//! `If-Match`: a change is done to the version that the caller saw, or not at all.

use std::{
    fmt::Display,
    future::{Ready, ready},
    str::Split,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::IF_MATCH};

use super::{answers::Versioned, extract::header};
use crate::kernel::error::{Error, PRECONDITION_REQUIRED, Problem, Result, VERSION_MISMATCH};

/// `If-Match`, judged against the row that is about to change.
pub struct IfMatch(Option<String>);

impl IfMatch {
    /// Refuses if the caller saw another version.
    ///
    /// # Errors
    /// 412 `version-mismatch`.
    pub fn allows(&self, version: i64) -> Result<()> {
        // What the clock made of it is nobody's change.
        self.allows_if(version, |_| true)
    }

    /// The same of what shares its address with others' things: a tag that says whose it is says it rightly.
    ///
    /// # Errors
    /// 412 `version-mismatch`.
    pub fn allows_of(&self, version: i64, whose: impl Display) -> Result<()> {
        let whose = whose.to_string();
        self.allows_if(version, |mut said| said.next().is_none_or(|of| of == whose))
    }

    /// `more` judges what a tag says after the version.
    fn allows_if(&self, version: i64, more: impl Fn(Split<'_, char>) -> bool) -> Result<()> {
        let current = version.to_string();
        let seen = |tag: &str| {
            let mut said = tag.strip_prefix('"')?.strip_suffix('"')?.split('-');
            Some(said.next()? == current && more(said))
        };
        let differs = || VERSION_MISMATCH.with("current_version", version);
        self.names(|tag| seen(tag) == Some(true), differs)
    }

    /// The same of what keeps its address when it is made anew, with versions that begin again: only the whole tag tells its lives apart.
    ///
    /// # Errors
    /// 412 `version-mismatch`.
    pub fn allows_this(&self, thing: &impl Versioned) -> Result<()> {
        let current = thing.tag();
        let differs = || VERSION_MISMATCH.with("current_etag", &current);
        self.names(|tag| tag == current, differs)
    }

    /// Refuses if the caller saw anything, for there is nothing.
    ///
    /// # Errors
    /// 412 `version-mismatch`.
    pub fn allows_nothing(&self) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some(_) => Err(VERSION_MISMATCH.because("There is nothing here any more.").into()),
        }
    }

    fn names(&self, seen: impl Fn(&str) -> bool, differs: impl Fn() -> Problem) -> Result<()> {
        let Some(tags) = &self.0 else { return Ok(()) };
        match tags.split(',').map(str::trim).any(|tag| tag == "*" || seen(tag)) {
            true => Ok(()),
            false => Err(differs().into()),
        }
    }

    /// The same where a blind overwrite would destroy work.
    ///
    /// # Errors
    /// 428 `precondition-required` when absent, 412 `version-mismatch`.
    pub fn required(&self, version: i64) -> Result<()> {
        if self.0.is_none() {
            return Err(PRECONDITION_REQUIRED.into());
        }
        self.allows(version)
    }
}

impl FromRequest for IfMatch {
    type Error = Error;
    type Future = Ready<Result<IfMatch>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(header(request.headers(), IF_MATCH.as_str()).map(IfMatch))
    }
}
