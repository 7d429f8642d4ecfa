//! What handlers take beside a body.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header::HeaderMap, web::Data};
use uuid::Uuid;

use super::{export::wants_lines, front::LetIn, headers::names};
use crate::kernel::{
    access::{Access, Call, Caller, Can, Needs, Person, Via},
    clock::Clock,
    crypto::Keyring,
    error::{
        Error, FieldCode, INTERNAL, INVALID_HEADER, Kind, Problem, Result, SESSION_REQUIRED, STEP_UP_REQUIRED,
        UNKNOWN_PARAMETER,
    },
    id::{Id, Resource, SessionId},
    idempotency::IdempotencyKey,
    page::{Filters, PageQuery, Seals},
};

/// What the front door found out. It is always there: the front door wraps every route.
pub(super) fn with_caller<T, E>(request: &HttpRequest, found: impl FnOnce(&Caller) -> Result<T, E>) -> Ready<Result<T>>
where
    Error: From<E>,
{
    let extensions = request.extensions();
    let caller = extensions.get::<LetIn>().map(|let_in| &let_in.caller);
    ready(caller.map_or_else(|| Err(INTERNAL.into()), |caller| Ok(found(caller)?)))
}

impl<P: Needs> FromRequest for Can<P> {
    type Error = Error;
    type Future = Ready<Result<Can<P>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| {
            caller.access.as_ref().map_err(Clone::clone).and_then(Can::from_access)
        })
    }
}

impl FromRequest for Person {
    type Error = Error;
    type Future = Ready<Result<Person>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| caller.person.clone())
    }
}

/// The person who is signed in, and their session: for what nobody does by a key. That is said before the body is looked at.
pub struct BySession {
    /// The person.
    pub person: Person,
    /// Their session.
    pub session: SessionId,
}

impl TryFrom<Person> for BySession {
    type Error = Problem;

    fn try_from(person: Person) -> Result<BySession, Problem> {
        match person.via {
            Via::Session { id: session, .. } => Ok(BySession { person, session }),
            Via::Key(_) => Err(SESSION_REQUIRED.into()),
        }
    }
}

impl FromRequest for BySession {
    type Error = Error;
    type Future = Ready<Result<BySession>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| caller.person.clone().and_then(BySession::try_from))
    }
}

/// Who it is, or why nobody: for operations that answer visitors too. Never fails.
pub struct Somebody(pub Result<Person, Problem>);

impl FromRequest for Somebody {
    type Error = Error;
    type Future = Ready<Result<Somebody>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| Ok::<_, Error>(Somebody(caller.person.clone())))
    }
}

/// Admission to the workspace that the request names, whatever may be done there.
pub struct Admitted(pub Access);

impl FromRequest for Admitted {
    type Error = Error;
    type Future = Ready<Result<Admitted>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| {
            caller
                .access
                .as_ref()
                .map(|access| Admitted(access.clone()))
                .map_err(Clone::clone)
        })
    }
}

/// Admission to the workspace that the request names or that can be meant alone; none where there is no such one, or it lets nobody in.
pub struct Whereabouts(pub Option<Access>);

impl FromRequest for Whereabouts {
    type Error = Error;
    type Future = Ready<Result<Whereabouts>>;

    /// # Errors
    /// A workspace is named that there is not, for this caller.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let is_named = request.headers().contains_key(&names::WORKSPACE);
        with_caller(request, |caller| match &caller.access {
            Ok(access) => Ok(Whereabouts(Some(access.clone()))),
            Err(refused) if is_named && is_nowhere(&caller.access) => Err(refused.clone()),
            Err(_) => Ok(Whereabouts(None)),
        })
    }
}

/// True if the workspace that is named, or that would have to be, is none of the caller's.
fn is_nowhere(access: &Result<Access, Problem>) -> bool {
    let none = |refused: &Problem| matches!(refused.kind().status, 400 | 404);
    access.as_ref().is_err_and(none)
}

/// Proof that the person signed in within the last fifteen minutes, for what a stolen session must not do.
pub struct Fresh;

/// How long a sign-in counts as recent, in seconds.
const FRESH_SECONDS: i64 = 15 * 60;

impl Fresh {
    /// Whether this person's sign-in is one of the last minutes, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// 403 `session-required` for a key, `step-up-required` for an older one; whatever says that there is nobody.
    pub(super) fn of(person: &Result<Person, Problem>, now: i64) -> Result<Fresh, Problem> {
        match person.as_ref().map_err(Clone::clone)?.via {
            Via::Session { auth_time, .. } if now - auth_time <= FRESH_SECONDS => Ok(Fresh),
            Via::Key(_) => Err(SESSION_REQUIRED.into()),
            Via::Session { .. } => Err(STEP_UP_REQUIRED
                .with("methods", ["password"])
                .with("max_age_seconds", FRESH_SECONDS)),
        }
    }
}

impl FromRequest for Fresh {
    type Error = Error;
    type Future = Ready<Result<Fresh>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(clock) = request.app_data::<Data<Clock>>() else {
            return ready(Err(INTERNAL.into()));
        };
        let now = clock.now().timestamp();
        with_caller(request, |caller| Fresh::of(&caller.person, now))
    }
}

/// The call, for operations that need no credential.
pub struct Visit(pub Arc<Call>);

impl FromRequest for Visit {
    type Error = Error;
    type Future = Ready<Result<Visit>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| Ok::<_, Error>(Visit(caller.call.clone())))
    }
}

/// The one placeholder of a path. A malformed id becomes the nil id, which no row has: unknown, foreign and malformed read the same.
pub struct Path<T>(pub T);

/// What a placeholder can be.
pub trait Segment: Sized {
    /// Never fails.
    fn read(text: &str) -> Self;
}

impl<T: Resource> Segment for Id<T> {
    fn read(text: &str) -> Id<T> {
        text.parse().unwrap_or_else(|_| Id::nil())
    }
}

impl Segment for String {
    fn read(text: &str) -> String {
        text.to_owned()
    }
}

impl Segment for i64 {
    /// A number that cannot be read is one that nothing has.
    fn read(text: &str) -> i64 {
        text.parse().unwrap_or(-1)
    }
}

impl<T: Segment> FromRequest for Path<T> {
    type Error = Infallible;
    type Future = Ready<Result<Path<T>, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut placeholders = request.match_info().iter().map(|(_, text)| text);
        ready(Ok(Path(T::read(placeholders.next().unwrap_or_default()))))
    }
}

/// Two placeholders of a path, in order.
pub struct Paths<A, B>(pub A, pub B);

impl<A: Segment, B: Segment> FromRequest for Paths<A, B> {
    type Error = Infallible;
    type Future = Ready<Result<Paths<A, B>, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut placeholders = request.match_info().iter().map(|(_, text)| text);
        let mut next = || placeholders.next().unwrap_or_default();
        ready(Ok(Paths(A::read(next()), B::read(next()))))
    }
}

impl<F: Filters + 'static> FromRequest for PageQuery<F> {
    type Error = Error;
    type Future = Ready<Result<PageQuery<F>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let workspace = request
            .extensions()
            .get::<LetIn>()
            .and_then(|let_in| Some(let_in.caller.access.as_ref().ok()?.scope().workspace()));
        let Some(seals) = request.app_data::<Data<Seals>>() else {
            return ready(Err(INTERNAL.into()));
        };
        let workspace = workspace.map_or(Uuid::nil(), Id::uuid);
        let parsed = PageQuery::parse(request.query_string(), workspace, seals)
            .and_then(|query| query.given_in(wants_lines(request.headers(), F::EXPORTED)?));
        ready(parsed.map_err(Error::from))
    }
}

/// Proof that the request has no query: on every operation that documents none, because a typo must not be ignored.
pub struct NoQuery;

impl FromRequest for NoQuery {
    type Error = Error;
    type Future = Ready<Result<NoQuery>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let first = url::form_urlencoded::parse(request.query_string().as_bytes()).next();
        ready(match first {
            None => Ok(NoQuery),
            Some((name, _)) => {
                let problem = UNKNOWN_PARAMETER.because("This operation has no query parameters.");
                Err(problem
                    .field(
                        format!("query/{name}"),
                        FieldCode::UnknownField,
                        "There is no such parameter.",
                    )
                    .into())
            }
        })
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Error;
    type Future = Ready<Result<IdempotencyKey>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(read_key(request))
    }
}

fn read_key(request: &HttpRequest) -> Result<IdempotencyKey> {
    let key = header(request.headers(), "idempotency-key")?;
    if key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > 255 || !key.bytes().all(|b| matches!(b, b' '..=b'~')))
    {
        return Err(bad_header(
            INVALID_HEADER,
            "header/Idempotency-Key",
            "1 to 255 printable ASCII characters.",
        ));
    }
    let template = request
        .extensions()
        .get::<LetIn>()
        .map_or("", |let_in| let_in.operation.template);
    let keyring = request
        .app_data::<Data<Keyring>>()
        .ok_or(INTERNAL)?
        .clone()
        .into_inner();
    let mut query: Vec<_> = url::form_urlencoded::parse(request.query_string().as_bytes()).collect();
    // How long somebody waits for the answer is no part of what they ask for: `Prefer` says the same.
    query.retain(|(name, _)| name != "wait");
    query.sort();
    Ok(IdempotencyKey {
        key,
        route: format!("{} {template}", request.method()),
        target: format!("{}?{query:?}", request.path()),
        keyring,
    })
}

/// A header that may be given once.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>> {
    let mut values = headers.get_all(name);
    let pointer = || format!("header/{name}");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(bad_header(INVALID_HEADER, pointer(), "Printable ASCII only.")),
        },
        (Some(_), Some(_)) => Err(bad_header(INVALID_HEADER, pointer(), "Once only.")),
    }
}

fn bad_header(kind: Kind, pointer: impl Into<String>, detail: &str) -> Error {
    Problem::from(kind)
        .field(pointer, FieldCode::InvalidFormat, detail)
        .into()
}
