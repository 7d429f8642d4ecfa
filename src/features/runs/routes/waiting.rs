//! Waiting for a run: `?wait=`, and `Prefer: wait=…`.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, Responder,
    dev::Payload,
    http::header::{HeaderName, HeaderValue},
    web::Data,
};

use crate::{
    features::runs::{
        model::{Run, Status},
        service,
    },
    kernel::{
        access::{Call, Scope},
        db::Db,
        error::{Error, FieldCode, INVALID_PARAMETER, Problem, Result, UNKNOWN_PARAMETER},
        http::{
            front::Front,
            prefer::{self, LONGEST},
        },
        id::WorkspaceId,
    },
};

/// Says what of `Prefer` was done.
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// So many wait at once …
const SEATS: usize = 1_000;
/// … and so many of one workspace; whoever else would is answered at once.
const SHARE: usize = SEATS / 20;

/// Who waits, by workspace.
static WAITING: LazyLock<Mutex<HashMap<WorkspaceId, usize>>> = LazyLock::new(Mutex::default);

/// The right to wait.
struct Seat(WorkspaceId);

impl Seat {
    fn take(workspace: WorkspaceId) -> Option<Seat> {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (waiting.values().sum::<usize>(), waiting.get(&workspace).copied());
        if all >= SEATS || own.unwrap_or(0) >= SHARE {
            return None;
        }
        *waiting.entry(workspace).or_default() += 1;
        Some(Seat(workspace))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = waiting.get_mut(&self.0) {
            *own -= 1;
            if *own == 0 {
                waiting.remove(&self.0);
            }
        }
    }
}

/// How long the caller waits: `?wait=`, seconds and nothing else, or else what it prefers; and no longer than the process serves on.
pub(super) struct Patience {
    wait: Duration,
    preferred: bool,
    front: Data<Front>,
}

impl Patience {
    /// As long as the call's deadline lets anybody wait: what is left must do for one more look and the way back.
    pub(super) fn within(&self, call: &Call) -> Duration {
        self.wait
            .min(call.time_left().saturating_sub(Duration::from_millis(400)))
    }

    /// The run as it is once it has ended or waits, or when the time is over or the process serves on no longer. What was accepted is accepted:
    /// trouble with looking again is no reason to say that nothing happened, so in the end the run is answered as it was seen last. Who waits
    /// takes nobody's place. Also how long anybody was ready to wait: not at all where there is no seat.
    pub(super) async fn settle(&self, db: &Db, scope: &Scope, mut run: Run) -> (Run, Duration) {
        let wait = self.within(scope.call());
        let Some(_seat) = Seat::take(scope.workspace()) else {
            return (run, Duration::ZERO);
        };
        let began = Instant::now();
        let until = began + wait;
        let mut pause = Duration::from_millis(10);
        while !run.status.is_final() && run.status != Status::Waiting && Instant::now() < until {
            if self.front.readiness.is_closing() {
                return (run, began.elapsed());
            }
            scope.call().step_out();
            tokio::time::sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
            // A tenth of what was waited already is not felt.
            pause = (pause * 2).min((began.elapsed() / 10).clamp(OFTEN, SELDOM));
            let id = run.id;
            let look = db.tenant(scope.clone(), move |tx| service::get(tx, id));
            match tokio::time::timeout_at((until + OFTEN).into(), look).await {
                Ok(Ok(seen)) => run = seen,
                // There was no room for this look; there may be for the next one.
                Ok(Err(_)) => {}
                Err(_) => break,
            }
        }
        (run, wait)
    }

    /// An answer after so long.
    pub(super) fn granted<T>(&self, wait: Duration, answer: T) -> Waited<T> {
        let seconds = self.preferred.then_some(wait.as_secs()).filter(|seconds| *seconds > 0);
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
        let front = request
            .app_data::<Data<Front>>()
            .expect("mounted with the server")
            .clone();
        let preferred = || prefer::wait(request.headers()).map(|seconds| (seconds.min(LONGEST), true));
        let read = read_wait(request.query_string()).map(|asked| {
            let named = asked.map(|seconds| (seconds, false));
            let (seconds, preferred) = named.or_else(preferred).unwrap_or_default();
            Patience {
                wait: Duration::from_secs(seconds),
                preferred,
                front,
            }
        });
        ready(read)
    }
}

/// The longest pause between two looks at first …
const OFTEN: Duration = Duration::from_millis(200);
/// … and of whoever has waited for ten seconds.
const SELDOM: Duration = Duration::from_secs(1);

const EXPECTED: &str = "A number of seconds from 0 to 60.";

fn read_wait(query: &str) -> Result<Option<u64>> {
    let mut wait = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name != "wait" {
            let problem = Problem::from(UNKNOWN_PARAMETER);
            return Err(problem
                .field(format!("query/{name}"), FieldCode::UnknownField, "Known is: wait.")
                .into());
        }
        let wrong = |code: FieldCode, detail: &str| {
            let problem = Problem::from(INVALID_PARAMETER).field("query/wait", code, detail);
            Err(Error::from(problem))
        };
        wait = match value.parse::<u64>() {
            _ if wait.is_some() => return wrong(FieldCode::TooMany, "Once only."),
            Ok(seconds @ ..=LONGEST) => Some(seconds),
            Ok(_) => return wrong(FieldCode::TooLarge, EXPECTED),
            Err(_) => return wrong(FieldCode::InvalidFormat, EXPECTED),
        };
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_workspace_leaves_seats_for_the_others() {
        let [one, other] = [1, 2].map(|n| WorkspaceId::from_uuid(uuid::Uuid::from_u128(n)));
        let mut seats: Vec<Seat> = (0..SHARE).map(|_| Seat::take(one).expect("a seat")).collect();
        assert!(Seat::take(one).is_none());
        assert!(Seat::take(other).is_some());
        seats.pop();
        assert!(Seat::take(one).is_some());
        drop(seats);
        let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!waiting.contains_key(&one) && !waiting.contains_key(&other));
    }
}
