//! Finds out who calls: a credential becomes an actor, an actor and a workspace become an [`Access`].

use std::sync::Arc;

use crate::kernel::{
    access::{Call, Caller, Person},
    clock::Clock,
    db::Db,
    error::{AMBIGUOUS_CREDENTIALS, Problem, UNAUTHENTICATED},
    secret::Secret,
};

/// What a request shows.
#[derive(Clone, PartialEq)]
pub enum Credential {
    /// Nothing.
    None,
    /// `Authorization: Bearer`, or the session cookie: an access token.
    Token(Secret<String>),
    /// `Authorization: Bearer gld_…` or `X-Api-Key`.
    Key(Secret<String>),
    /// `Authorization: License …`.
    License(Secret<String>),
    /// More than one.
    Several,
}

/// Judges credentials. One per process.
pub struct Doorkeeper {
    db: Db,
    clock: Clock,
}

impl Doorkeeper {
    /// A doorkeeper of this database.
    pub fn new(db: Db, clock: Clock) -> Doorkeeper {
        Doorkeeper { db, clock }
    }

    /// Judges what a request shows. `workspace` is the header, as sent.
    pub(in crate::kernel) async fn judge(
        &self,
        credential: &Credential,
        workspace: Option<&str>,
        call: Call,
    ) -> Caller {
        let _ = (&self.db, &self.clock, workspace);
        match credential {
            Credential::None => nobody(call, UNAUTHENTICATED.into()),
            Credential::Several => nobody(call, AMBIGUOUS_CREDENTIALS.into()),
            Credential::Token(_) | Credential::Key(_) | Credential::License(_) => nobody(call, UNAUTHENTICATED.into()),
        }
    }
}

/// A caller that is refused wherever a credential is needed.
fn nobody(call: Call, refusal: Problem) -> Caller {
    let person: Result<Person, Problem> = Err(refusal.clone());
    Caller {
        call: Arc::new(call),
        person,
        access: Err(refusal),
    }
}
