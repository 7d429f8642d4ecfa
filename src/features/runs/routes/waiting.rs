//! Waiting for a run: `?wait=`, and `Prefer: wait=…`.

use std::{
    future::{Ready, ready},
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, Responder,
    dev::Payload,
    http::header::{HeaderName, HeaderValue},
};
use tokio::sync::Semaphore;

use crate::{
    features::runs::{
        model::{Run, Status},
        service,
    },
    kernel::{
        access::{Call, Scope},
        db::Db,
        error::{Error, FieldCode, INVALID_PARAMETER, Problem, Result, UNKNOWN_PARAMETER},
        http::prefer::{self, LONGEST},
    },
};

/// Says what of `Prefer` was done.
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// So many wait at once; whoever else would is answered at once.
static SEATS: Semaphore = Semaphore::const_new(1_000);
/// How long the caller waits: `?wait=`, seconds and nothing else, or else what it prefers.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    wait: Duration,
    preferred: bool,
}

impl Patience {
    /// As long as the call's deadline lets anybody wait: what is left must do for one more look and the way back.
    pub(super) fn within(&self, call: &Call) -> Duration {
        self.wait
            .min(call.time_left().saturating_sub(Duration::from_millis(400)))
    }

    /// An answer after so long.
    pub(super) fn granted<T>(&self, wait: Duration, answer: T) -> Waited<T> {
        let seconds = self.preferred.then_some(wait.as_secs());
        Waited { answer, seconds }
    }
}

/// An answer that was waited for, and how many seconds of a preference were granted.
pub(super) struct Waited<T> {
    answer: T,
    seconds: Option<u64>,
}

impl<T> Waited<T> {
    /// One that came at once.
    pub(super) fn not(answer: T) -> Waited<T> {
        Waited { answer, seconds: None }
    }
}

impl<T: Responder> Responder for Waited<T> {
    type Body = T::Body;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<T::Body> {
        let mut response = self.answer.respond_to(request);
        if let Some(seconds) = self.seconds
            && let Ok(said) = HeaderValue::from_str(&format!("wait={seconds}"))
        {
            response.headers_mut().insert(APPLIED, said);
        }
        response
    }
}

impl FromRequest for Patience {
    type Error = Error;
    type Future = Ready<Result<Patience>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let preferred = || prefer::wait(request.headers()).map(|seconds| (seconds.min(LONGEST), true));
        let read = read_wait(request.query_string()).map(|asked| {
            let named = asked.map(|seconds| (seconds, false));
            let (seconds, preferred) = named.or_else(preferred).unwrap_or_default();
            Patience {
                wait: Duration::from_secs(seconds),
                preferred,
            }
        });
        ready(read)
    }
}

fn read_wait(query: &str) -> Result<Option<u64>> {
    let mut wait = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name != "wait" {
            let problem = Problem::from(UNKNOWN_PARAMETER);
            return Err(problem
                .field(format!("query/{name}"), FieldCode::UnknownField, "Known is: wait.")
                .into());
        }
        let seconds = value.parse().ok().filter(|seconds| *seconds <= LONGEST);
        wait = Some(seconds.ok_or_else(|| {
            Problem::from(INVALID_PARAMETER).field(
                "query/wait",
                FieldCode::TooLarge,
                "A number of seconds from 0 to 60.",
            )
        })?);
    }
    Ok(wait)
}

/// The run as it is once it has ended or waits, or when the time is over. What was accepted is accepted: trouble with looking again is no
/// reason to say that nothing happened, so the run is then answered as it was seen last. Who waits takes nobody's place.
pub(super) async fn settled(db: &Db, scope: &Scope, mut run: Run, wait: Duration) -> Run {
    let Ok(_seat) = SEATS.try_acquire() else {
        return run;
    };
    let until = Instant::now() + wait;
    let mut pause = Duration::from_millis(10);
    while !run.status.is_final() && run.status != Status::Waiting && Instant::now() + pause < until {
        scope.call().step_out();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
        let id = run.id;
        let look = db.tenant(scope.clone(), move |tx| service::get(tx, id));
        match tokio::time::timeout_at(until.into(), look).await {
            Ok(Ok(seen)) => run = seen,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    run
}
