//! What the database refuses, in our words. Its own text never reaches a caller.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as Diesel};

use super::{DATABASE_UNAVAILABLE, DEADLINE_EXCEEDED, Error, NOT_FOUND, OVERLOADED, Outcome, Problem, Result};

/// Gives a violated constraint its meaning. One that nobody mapped is a bug: 500, and loud.
pub trait OnConstraint<T> {
    /// A duplicate under the named unique constraint or index is this refusal.
    fn on_unique(self, constraint: &str, refusal: impl Into<Error>) -> Result<T>;
    /// A reference that the named foreign key does not find is this refusal.
    fn on_foreign_key(self, constraint: &str, refusal: impl Into<Error>) -> Result<T>;
}

impl<T, E: Into<Error> + AsDatabase> OnConstraint<T> for Result<T, E> {
    fn on_unique(self, constraint: &str, refusal: impl Into<Error>) -> Result<T> {
        self.map_err(|error| match error.violated(DatabaseErrorKind::UniqueViolation) {
            Some(name) if name == constraint => refusal.into(),
            _ => error.into(),
        })
    }

    fn on_foreign_key(self, constraint: &str, refusal: impl Into<Error>) -> Result<T> {
        self.map_err(|error| match error.violated(DatabaseErrorKind::ForeignKeyViolation) {
            Some(name) if name == constraint => refusal.into(),
            _ => error.into(),
        })
    }
}

/// Errors that may hold a violated constraint.
pub trait AsDatabase {
    /// The constraint, if that is what was violated.
    fn violated(&self, wanted: impl Into<Wanted>) -> Option<&str>;
}

/// The kind of violation that is looked for.
pub struct Wanted(DatabaseErrorKind);

impl From<DatabaseErrorKind> for Wanted {
    fn from(kind: DatabaseErrorKind) -> Wanted {
        Wanted(kind)
    }
}

impl Wanted {
    fn is(&self, kind: &DatabaseErrorKind) -> bool {
        std::mem::discriminant(&self.0) == std::mem::discriminant(kind)
    }
}

/// Gives what is not there its meaning, and leaves every other error as it is: a row that cannot be read now may well be there.
pub trait OrElse<T> {
    /// What is missing is this refusal.
    fn or_refuse(self, refusal: impl Into<Error>) -> Result<T>;
}

impl<T> OrElse<T> for Result<T> {
    fn or_refuse(self, refusal: impl Into<Error>) -> Result<T> {
        self.map_err(|error| if error.is(NOT_FOUND) { refusal.into() } else { error })
    }
}

impl AsDatabase for Diesel {
    fn violated(&self, wanted: impl Into<Wanted>) -> Option<&str> {
        match self {
            Diesel::DatabaseError(kind, about) if wanted.into().is(kind) => about.constraint_name(),
            _ => None,
        }
    }
}

/// Others were at it at the same moment. Nothing was done; asked again, it goes its way.
pub fn contention() -> Problem {
    OVERLOADED.with("reason", "contention").outcome(Outcome::None)
}

/// So that two mappings can be chained: `.on_unique(a, …).on_foreign_key(b, …)`.
impl AsDatabase for Error {
    fn violated(&self, wanted: impl Into<Wanted>) -> Option<&str> {
        match self {
            Error::Broken(error) => error.downcast_ref::<Diesel>().and_then(|inner| inner.violated(wanted)),
            Error::Refused(_) => None,
        }
    }
}

impl From<Diesel> for Error {
    fn from(error: Diesel) -> Error {
        match &error {
            Diesel::NotFound if crate::leak!("forbidden-for-not-found") => super::FORBIDDEN.into(),
            Diesel::NotFound => NOT_FOUND.into(),
            Diesel::DatabaseError(kind, about) => {
                refusal(kind, about.as_ref()).map_or_else(|| Error::Broken(error.into()), Error::from)
            }
            _ => Error::Broken(error.into()),
        }
    }
}

/// True if the database refused to write: it is a replica now. A transaction of ours that only reads gets the same for a mistake in it, so
/// that is for whoever knows which it was.
pub fn is_read_only(error: &Error) -> bool {
    let Error::Broken(error) = error else { return false };
    matches!(
        error.downcast_ref(),
        Some(Diesel::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _))
    )
}

/// Trouble that is nobody's mistake. diesel shows no SQLSTATE, so the text is matched; the app roles pin `lc_messages = 'C'`.
fn refusal(kind: &DatabaseErrorKind, about: &(dyn DatabaseErrorInformation + Send + Sync)) -> Option<Problem> {
    let text = about.message();
    // libpq will not send it, on any connection: the statement is at fault.
    if text.starts_with("number of parameters must be between") {
        return None;
    }
    let contended = ["canceling statement due to lock timeout", "deadlock detected"];
    let gone = [
        "terminating connection due to",
        "the database system is",
        "server closed the connection",
        "could not connect to server",
        "connection to server",
        "sorry, too many clients",
        "remaining connection slots",
        "SSL connection has been closed",
        "could not receive data from server",
        "no connection to the server",
    ];
    // What the server is out of: disk, memory, room for locks.
    let exhausted = [
        "No space left on device",
        "out of memory",
        "out of shared memory",
        "Disk quota exceeded",
    ];
    if matches!(kind, DatabaseErrorKind::SerializationFailure) || contended.iter().any(|start| text.starts_with(start))
    {
        Some(contention())
    } else if text.starts_with("canceling statement due to statement timeout") {
        Some(Problem::from(DEADLINE_EXCEEDED))
    } else if matches!(
        kind,
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand
    ) || gone.iter().any(|start| text.starts_with(start))
        || exhausted.iter().any(|words| text.contains(words))
    {
        Some(Problem::from(DATABASE_UNAVAILABLE))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: DatabaseErrorKind, text: &str) -> Error {
        Diesel::DatabaseError(kind, Box::new(text.to_owned())).into()
    }

    #[test]
    fn what_the_server_is_out_of_is_no_bug_of_ours() {
        for text in [
            "could not extend file \"base/5/16397\": No space left on device",
            "out of memory",
            "out of shared memory",
            "sorry, too many clients already",
        ] {
            let error = error(DatabaseErrorKind::Unknown, text);
            assert!(error.is(DATABASE_UNAVAILABLE), "{text}");
        }
        let bug = error(
            DatabaseErrorKind::Unknown,
            "value \"out\" is out of range for type integer",
        );
        assert!(matches!(bug, Error::Broken(_)));
    }

    #[test]
    fn a_replica_is_told_from_a_mistake() {
        let text = "cannot execute INSERT in a read-only transaction";
        assert!(is_read_only(&error(DatabaseErrorKind::ReadOnlyTransaction, text)));
        assert!(!is_read_only(&error(DatabaseErrorKind::Unknown, "cannot execute it")));
    }
}
