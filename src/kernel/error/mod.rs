//! An error is either something we tell the caller or something we tell ourselves.

mod catalogue;
mod database;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use catalogue::*;
pub use database::{OnConstraint, OrElse, contention, is_read_only};

/// The result of everything that can be refused.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
pub enum Error {
    /// Something the caller is told.
    Refused(Box<Problem>),
    /// Something we tell ourselves: logged and reported; the caller learns only the request id (500).
    Broken(anyhow::Error),
}

impl Error {
    /// True if this is the refusal of that kind.
    pub fn is(&self, kind: Kind) -> bool {
        matches!(self, Error::Refused(problem) if problem.kind == kind)
    }
}

/// One kind of refusal: a line of the catalogue, with a page of its own under `/problems/{code}`.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The HTTP status that goes with it.
    pub status: u16,
    /// What programs branch on. Never changes its meaning.
    pub code: &'static str,
    /// The same sentence for every occurrence.
    pub title: &'static str,
    /// Lines of the page: what it means; after `Cause:` what usually leads to it; after `Fix:` what to do.
    pub lines: &'static [&'static str],
}

impl Kind {
    /// Declares a kind. Use [`problems!`](crate::problems), which also registers it.
    pub const fn new(status: u16, code: &'static str, title: &'static str, lines: &'static [&'static str]) -> Kind {
        Kind {
            status,
            code,
            title,
            lines,
        }
    }

    /// This refusal, with a sentence for people about the case at hand.
    pub fn because(self, detail: impl Into<String>) -> Problem {
        let mut problem = Problem::from(self);
        problem.case_mut().detail = Some(detail.into());
        problem
    }

    /// This refusal with an extra member.
    pub fn with(self, member: &'static str, value: impl Serialize) -> Problem {
        Problem::from(self).with(member, value)
    }

    /// What it means, for its page. Like the two below, it is Markdown as far as code goes: between backticks.
    pub fn meaning(&self) -> String {
        self.part("")
    }

    /// What usually leads to it, for its page.
    pub fn cause(&self) -> String {
        self.part("Cause:")
    }

    /// What the caller should do, for its page.
    pub fn fix(&self) -> String {
        self.part("Fix:")
    }

    /// The sentences after a mark, up to the next one.
    fn part(&self, mark: &str) -> String {
        let mut at = "";
        let mut words = Vec::new();
        for line in self.lines.iter().map(|line| line.trim()) {
            let marked = ["Cause:", "Fix:"].into_iter().find(|mark| line.starts_with(mark));
            at = marked.unwrap_or(at);
            if at == mark {
                words.push(line.trim_start_matches(mark).trim());
            }
        }
        let text = words.join(" ");
        let mut letters = text.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        self.code == other.code
    }
}
impl Eq for Kind {}

/// Declares refusals: one const each, and `PROBLEMS`, the list of them that the catalogue is made from.
///
/// ```text
/// problems! {
///     /// Another agent of the workspace has that name.
///     /// Cause: names are unique in a workspace.
///     /// Fix: choose another name, or rename the other agent first.
///     pub NAME_TAKEN = 409, "name-taken", "That name is already in use";
/// }
/// ```
#[macro_export]
macro_rules! problems {
    ($($(#[doc = $line:literal])* pub $name:ident = $status:literal, $code:literal, $title:literal;)*) => {
        $(
            $(#[doc = $line])*
            pub const $name: $crate::kernel::error::Kind =
                $crate::kernel::error::Kind::new($status, $code, $title, &[$($line),*]);
        )*
        /// Every refusal that this module declares.
        pub const PROBLEMS: &[$crate::kernel::error::Kind] = &[$($name),*];
    };
}

/// What is wrong with one field. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FieldCode {
    Required,
    UnknownField,
    WrongType,
    TooShort,
    TooLong,
    TooSmall,
    TooLarge,
    TooMany,
    InvalidFormat,
    InvalidChoice,
    InvalidCharacters,
    NotUnique,
    NotFound,
    Immutable,
    ConflictsWith,
    NotAllowedByPlan,
}

/// One field that is not acceptable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// A JSON pointer into the body, or where it was: `query/limit`, `header/If-Match`, `path/id`.
    #[schema(example = "/name")]
    pub pointer: String,
    /// What is wrong with it.
    pub code: FieldCode,
    /// The same for people.
    #[schema(example = "A name is wanted.")]
    pub detail: String,
}

/// Whether a write that was answered with 503 may have happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing happened.
    None,
    /// It may have: repeat it with the same `Idempotency-Key`.
    Unknown,
}

/// A refusal, as the caller reads it: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug)]
pub struct Problem {
    pub(in crate::kernel) kind: Kind,
    /// Most refusals say no more than their kind, and every request of a visitor carries two.
    case: Option<Box<Case>>,
}

/// What a refusal says of the case at hand.
#[derive(Clone, Debug, Default)]
pub(in crate::kernel) struct Case {
    pub(in crate::kernel) detail: Option<String>,
    pub(in crate::kernel) errors: Vec<FieldError>,
    pub(in crate::kernel) members: BTreeMap<&'static str, Value>,
    pub(in crate::kernel) links: BTreeMap<&'static str, &'static str>,
    pub(in crate::kernel) retry_after: Option<Duration>,
    pub(in crate::kernel) headers: Vec<(&'static str, String)>,
}

impl Problem {
    /// The kind of refusal.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it says of the case at hand.
    pub(in crate::kernel) fn case(&self) -> &Case {
        static PLAIN: Case = Case {
            detail: None,
            errors: Vec::new(),
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            retry_after: None,
            headers: Vec::new(),
        };
        self.case.as_deref().unwrap_or(&PLAIN)
    }

    pub(in crate::kernel) fn case_mut(&mut self) -> &mut Case {
        self.case.get_or_insert_default()
    }

    /// The sentence for people.
    pub fn detail(&self) -> Option<&str> {
        self.case().detail.as_deref()
    }

    /// Adds a documented extra member.
    pub fn with(mut self, member: &'static str, value: impl Serialize) -> Problem {
        self.case_mut()
            .members
            .insert(member, serde_json::to_value(value).expect("members are plain values"));
        self
    }

    /// Adds a documented extra member that is an address of ours: a path, which the answer completes.
    pub fn link(mut self, member: &'static str, path: &'static str) -> Problem {
        self.case_mut().links.insert(member, path);
        self
    }

    /// Adds a field that is not acceptable.
    pub fn field(mut self, pointer: impl Into<String>, code: FieldCode, detail: impl Into<String>) -> Problem {
        self.case_mut().errors.push(FieldError {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        });
        self
    }

    /// Says when to try again: `Retry-After`, in whole seconds, rounded up, at least 1.
    pub fn retry_after(mut self, after: Duration) -> Problem {
        self.case_mut().retry_after = Some(after);
        self
    }

    /// Says whether a write may have happened.
    pub fn outcome(self, outcome: Outcome) -> Problem {
        self.with("outcome", outcome)
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Problem {
        self.case_mut().headers.push((name, value.into()));
        self
    }
}

/// A 422 about one field.
pub fn invalid(pointer: impl Into<String>, code: FieldCode, detail: impl Into<String>) -> Error {
    Problem::from(VALIDATION_FAILED).field(pointer, code, detail).into()
}

/// A 422 about a reference in the body to something that is not there.
pub fn missing(pointer: impl Into<String>, what: &str) -> Error {
    invalid(pointer, FieldCode::NotFound, format!("There is no such {what}."))
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Problem {
        Problem { kind, case: None }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Error {
        Problem::from(kind).into()
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::Refused(Box::new(problem))
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        Error::Broken(error)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(problem) => write!(f, "refused: {} ({:?})", problem.kind.code, problem.detail()),
            Error::Broken(error) => write!(f, "broken: {error:?}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(problem) => {
                f.write_str(problem.kind.code)?;
                problem.detail().map_or(Ok(()), |detail| write!(f, ": {detail}"))
            }
            Error::Broken(error) => write!(f, "{error:#}"),
        }
    }
}
