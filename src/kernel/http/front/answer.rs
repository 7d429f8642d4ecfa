//! How every answer leaves: in our words, with its headers, counted and noted.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error as ActixError, HttpResponse,
    body::{BodySize, MessageBody},
    error::InternalError,
    http::{
        ConnectionType, Method,
        header::{CONTENT_TYPE, HeaderMap, ORIGIN},
    },
};

use super::{Front, overdrawn::Refusal, unread::Unread};
use crate::kernel::{
    access::{Actor, Call, Caller, Scope},
    error::{DEADLINE_EXCEEDED, INTERNAL, Outcome, Problem},
    gate::Place,
    http::{
        REPLAYED, cors, headers,
        limits::Verdict,
        operations::{Operation, RateClass},
        problem::{self, Broke},
    },
    id::WorkspaceId,
    metrics,
    trace::Trace,
};

/// What is known of a request when its answer leaves.
pub(super) struct Seen<'f> {
    pub(super) front: &'f Front,
    pub(super) operation: &'static Operation,
    pub(super) method: Method,
    pub(super) started: Instant,
    pub(super) request_id: Arc<str>,
    trace: Trace,
    /// What its headers said about the page that it came from.
    origin: HeaderMap,
    /// True if only the head of the answer is wanted.
    pub(super) is_head: bool,
    /// What the limits said.
    pub(super) verdict: Verdict,
    /// Its body, if the server would go on reading it after the answer.
    pub(super) unread: Option<Unread>,
    /// True if its workspace asks for too much at once.
    pub(super) is_crowded: bool,
    /// Its place inside the admission gate. Its answer leaves it.
    pub(super) place: Option<Arc<Place>>,
    who: Option<Actor>,
    workspace: Option<WorkspaceId>,
    /// Where they were let in.
    scope: Option<Scope>,
}

impl<'f> Seen<'f> {
    pub(super) fn new(
        front: &'f Front,
        operation: &'static Operation,
        method: Method,
        started: Instant,
        call: &Call,
        request: &HeaderMap,
    ) -> Seen<'f> {
        let mut origin = HeaderMap::new();
        if let Some(value) = request.get(&ORIGIN) {
            origin.insert(ORIGIN, value.clone());
        }
        Seen {
            front,
            operation,
            method,
            started,
            request_id: call.request_id.clone(),
            trace: call.trace,
            origin,
            is_head: false,
            verdict: Verdict::default(),
            unread: None,
            is_crowded: false,
            place: None,
            who: None,
            workspace: None,
            scope: None,
        }
    }

    /// Notes who it was.
    pub(super) fn meet(&mut self, caller: &Caller) {
        match (&caller.access, &caller.person) {
            (Ok(access), _) => {
                self.who = Some(access.scope().actor());
                self.workspace = Some(access.scope().workspace());
                self.scope = Some(access.scope().clone());
            }
            (Err(_), Ok(person)) => {
                self.who = Some(Actor::User {
                    id: person.user,
                    impersonator: None,
                });
            }
            (Err(_), Err(_)) => {}
        }
    }

    /// Notes who it was that is refused again without being asked for.
    pub(super) fn recall(&mut self, refusal: Refusal) {
        self.verdict = refusal.verdict;
        self.who = Some(refusal.actor);
        self.workspace = Some(refusal.workspace);
    }

    /// The answer to somebody for whom there is no room, after a pause if there are many of them.
    pub(super) async fn turned_away(&mut self) -> ActixError {
        self.front.gate.wait_on_the_porch().await;
        let full = &self.front.full;
        let (response, code) = (full.answer(&self.request_id), full.code());
        let response = self.dress(response);
        self.count(&response, code, self.started.elapsed());
        if self.front.gate.may_speak() {
            let (operation, class) = (self.operation.id, self.operation.admission.name());
            tracing::warn!(
                operation,
                class,
                "there is no room for more requests; they are told to come back"
            );
        }
        wrap(response)
    }

    /// Completes an answer.
    pub(super) fn finish(&mut self, mut response: HttpResponse) -> HttpResponse {
        self.remember(&response);
        if let Some(place) = &self.place {
            place.leave();
        }
        if let Some(broke) = response.extensions_mut().remove::<Broke>() {
            broke.tell(&self.request_id);
        }
        let (response, code) = match self.operation.rate {
            // A probe that says no says why in a document of its own.
            RateClass::Free if response.extensions().get::<Problem>().is_none() => (response, ""),
            _ => in_our_words(response, &self.front.public_url, &self.request_id),
        };
        self.settle(&response);
        let response = self.dress(response);
        let took = self.started.elapsed();
        self.count(&response, code, took);
        self.note(&response, code, took);
        response
    }

    /// What was refused started nothing, nor did what had been answered before; neither is counted as if it had.
    fn settle(&mut self, response: &HttpResponse) {
        let started_nothing = response.status().is_client_error() || response.headers().contains_key(REPLAYED);
        if let Some(scope) = self.scope.as_ref().filter(|_| started_nothing) {
            let limits = &self.front.limits;
            limits.started_nothing(scope, self.operation.rate, &mut self.verdict);
        }
    }

    fn dress(&mut self, mut response: HttpResponse) -> HttpResponse {
        let headers = response.headers_mut();
        headers::dress(headers, &self.request_id);
        self.verdict.dress(headers);
        cors::dress(&self.front.origins, &self.origin, self.operation, headers);
        if self.front.readiness.is_draining() {
            // The balancer should come back elsewhere.
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        match self.unread.take() {
            Some(unread) => unread.until_answered(response),
            None => response,
        }
    }

    /// The same for what ended without a response of its own.
    pub(super) fn fail(&mut self, problem: Problem) -> ActixError {
        wrap(self.finish(problem::bare(problem)))
    }

    /// The same for what was refused at the door, after a pause if it was for asking too much at once and there are many of them.
    pub(super) async fn refuse(&mut self, problem: Problem) -> ActixError {
        if self.is_crowded {
            self.front.gate.wait_on_the_porch().await;
        }
        self.fail(problem)
    }

    /// The same for work that was not done in time.
    pub(super) fn late(&mut self) -> ActixError {
        let outcome = match self.method == Method::GET {
            true => Outcome::None,
            false => Outcome::Unknown,
        };
        self.fail(Problem::from(DEADLINE_EXCEEDED).outcome(outcome))
    }

    /// The same for a panic.
    pub(super) fn panicked(&mut self, panic: &(dyn Any + Send)) -> ActixError {
        metrics::PANICS.with_label_values(&["handler"]).inc();
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(panic = text.unwrap_or("?"), request_id = %self.request_id, "a handler panicked");
        self.fail(INTERNAL.into())
    }

    /// Has a write that was not allowed noted in the workspace's audit log. Whatever it began was rolled back by now.
    fn remember(&self, response: &HttpResponse) {
        if let Some(scope) = self.scope.as_ref().filter(|_| self.method != Method::GET)
            && let Some(problem) = response.extensions().get::<Problem>()
        {
            self.front.refusals.note(scope, self.operation.id, problem);
        }
    }

    fn count(&self, response: &HttpResponse, code: &'static str, took: Duration) {
        let status = response.status().as_u16();
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status / 100).clamp(1, 5) - 1];
        let meters = &self.operation.meters;
        meters.seconds.observe(took.as_secs_f64());
        match (class, code) {
            ("2xx", "") => meters.succeeded.inc(),
            _ => metrics::HTTP_REQUESTS
                .with_label_values(&[self.operation.id, class, code])
                .inc(),
        }
        if !code.is_empty() {
            metrics::REFUSALS.with_label_values(&[code]).inc();
        }
    }

    /// One line per request. What was nothing is not said.
    fn note(&self, response: &HttpResponse, code: &'static str, took: Duration) {
        let ms = |time: Duration| time.as_micros() as f64 / 1_000.0;
        let spent = self.place.as_ref().map(|place| place.spent()).unwrap_or_default();
        let some = |time: Duration| (!time.is_zero()).then(|| ms(time));
        let bytes_out = match response.body().size() {
            BodySize::Sized(bytes) if !self.is_head => bytes,
            _ => 0,
        };
        tracing::info!(
            request_id = &*self.request_id,
            trace_id = self.trace.id_in(&mut [0; 32]),
            operation = self.operation.id,
            method = if self.is_head { "HEAD" } else { self.method.as_str() },
            status = response.status().as_u16(),
            code = (!code.is_empty()).then_some(code),
            ms = ms(took),
            wait_ms = some(spent.waited),
            db_ms = some(spent.worked),
            bytes_in = (spent.read > 0).then_some(spent.read),
            bytes_out = (bytes_out > 0).then_some(bytes_out),
            replayed = response.headers().contains_key(REPLAYED).then_some(true),
            workspace = self.workspace.map(tracing::field::display),
            actor_kind = self.who.map(|who| who.kind()),
            actor_id = self.who.and_then(|who| who.public_id()),
            "request"
        );
    }
}

/// Whatever is not a success becomes a problem document, the framework's own answers too. Also its code.
fn in_our_words(mut response: HttpResponse, base: &str, request_id: &str) -> (HttpResponse, &'static str) {
    let status = response.status();
    let content = response.headers().get(&CONTENT_TYPE);
    let ours = content.is_some_and(|value| value.as_bytes() == problem::PROBLEM_JSON.as_bytes());
    if !(status.is_client_error() || status.is_server_error()) || ours {
        return (response, "");
    }
    let known = response.extensions_mut().remove::<Problem>();
    let problem = known.unwrap_or_else(|| problem::stand_in(status));
    (problem::render(&problem, base, request_id), problem.kind().code)
}

/// A finished answer as the error that carries it: after a panic or a lost race there is no request left to answer to.
pub(super) fn wrap(response: HttpResponse) -> ActixError {
    InternalError::from_response("answered", response).into()
}
