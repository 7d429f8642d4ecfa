//! The front door: what every request goes through, outermost first. It names the request, answers browsers that only ask, judges how
//! much the caller may ask for, finds out who it is, sets the deadline, and sees to it that whatever comes back is an answer of ours:
//! with its headers, its log line, and as a problem if it is a refusal.

mod acquaintances;
mod answer;
mod credentials;
mod judging;
mod overdrawn;
mod patience;
mod strangers;
mod unread;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderMap, HeaderName, USER_AGENT},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use ipnet::IpNet;
use tokio::time::timeout_at;

pub use self::{
    acquaintances::Acquaintances,
    credentials::{ACCESS_COOKIE, cookie},
};
use self::{
    answer::{Seen, wrap},
    judging::{judge_encoding, judge_head, judge_method, judge_path, judge_query, judge_start, judge_version},
    patience::more_time,
    unread::Unread,
};
pub use super::headers::API_VERSION;
use super::{
    cors::{self, Origins},
    headers,
    limits::{Limits, Shown, Verdict},
    operations::{Operation, Operations, RateClass},
    problem::Prebuilt,
};
use crate::kernel::{
    access::{Actor, Call, Caller, Class, Credential, Doorkeeper, LICENSE_UNKNOWN},
    audit::Refusals,
    clock::Clock,
    error::{DEADLINE_EXCEEDED, Outcome, Problem, RATE_LIMITED},
    gate::{Full, Gate},
    id::RequestId,
    readiness::Readiness,
    trace::Trace,
};

/// What the front door needs. One per process.
pub struct Front {
    /// Every mounted operation.
    pub operations: Arc<Operations>,
    /// What of the refused is kept.
    pub refusals: Refusals,
    /// Who may come in.
    pub doorkeeper: Data<Doorkeeper>,
    /// Whose credentials were good a moment ago.
    pub acquaintances: Acquaintances,
    /// How much is done at once.
    pub gate: Arc<Gate>,
    /// What those are told for whom there is no room.
    pub full: Prebuilt,
    /// How much callers may ask for.
    pub limits: Limits,
    /// Whose pages may send cookies.
    pub origins: Origins,
    /// The time.
    pub clock: Clock,
    /// The base of problem types and links.
    pub public_url: String,
    /// Whose word about the caller's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// How far the process has come.
    pub readiness: Arc<Readiness>,
}

/// The middleware.
///
/// # Errors
/// Never a failure of its own: an error it returns carries the finished answer.
pub async fn front(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let front = request
        .app_data::<Data<Front>>()
        .expect("mounted with the server")
        .clone();
    let started = Instant::now();
    if let Some(answer) = preflight(&request, &front) {
        return Ok(request.into_response(answer));
    }
    let known = front.operations.find(request.method(), path(&request));
    let operation = known.unwrap_or_else(|| beside(&request, &front.operations));
    let is_head = request.method() == Method::HEAD;
    if is_head {
        // The server leaves the body out by itself; the routes only know GET.
        request.head_mut().method = Method::GET;
    }
    // Before anything is spent on it: whoever finds no room inside is told so, and nobody else.
    let place = match operation.rate {
        RateClass::Free => Ok(None),
        _ => front.gate.admit(operation.admission).map(Some),
    };
    let call = call(&request, operation, &front, started);
    let method = request.method().clone();
    let mut seen = Seen::new(&front, operation, method, started, &call, request.headers());
    seen.is_head = is_head;
    seen.unread = Unread::of(&mut request);
    let deadline = call.deadline;
    let call = match place {
        Ok(place) => {
            seen.place = place.clone();
            Call { place, ..call }
        }
        Err(Full) => return Err(seen.turned_away().await),
    };

    let judging = judge_in_time(&mut seen, &request, call, known.is_some());
    let caller = match AssertUnwindSafe(judging).catch_unwind().await {
        Ok(Ok(caller)) => caller,
        Ok(Err(refused)) => return Err(seen.refuse(*refused).await),
        Err(panic) => return Err(seen.panicked(&*panic)),
    };
    request.extensions_mut().insert(LetIn { caller, operation });
    let work = timeout_at(deadline.into(), next.call(request));
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(Ok(answered))) => {
            let (request, response) = answered.into_parts();
            Ok(ServiceResponse::new(
                request,
                seen.finish(response.map_into_boxed_body()),
            ))
        }
        Ok(Ok(Err(error))) => Err(wrap(seen.finish(error.as_response_error().error_response()))),
        Ok(Err(_late)) => Err(seen.late()),
        Err(panic) => Err(seen.panicked(&*panic)),
    }
}

/// What the front door leaves in the extensions of a request for its handler.
pub struct LetIn {
    /// Who asks.
    pub caller: Caller,
    /// What for.
    pub operation: &'static Operation,
}

/// Data of an application that has addresses of its own below `/dev/`.
pub struct Development;

/// What stands for an address that is not in the document.
fn beside(request: &ServiceRequest, operations: &Operations) -> &'static Operation {
    match path(request).starts_with("/dev/") && request.app_data::<Development>().is_some() {
        true => operations.development(),
        false => operations.unlisted(),
    }
}

/// The path as the router reads it: what is percent-encoded needlessly is decoded, so both find the same operation.
fn path(request: &ServiceRequest) -> &str {
    request.match_info().as_str()
}

/// The answer to a browser that asks whether a page may call. It is never limited, and nobody's credential is looked at.
fn preflight(request: &ServiceRequest, front: &Front) -> Option<HttpResponse> {
    let asked = cors::asked_method(request.method().as_str(), request.headers())?;
    let methods = front.operations.allowed(path(request))?;
    let asked = Method::from_bytes(asked.as_bytes()).ok()?;
    let found = front.operations.find(&asked, path(request));
    let operation = found.unwrap_or(front.operations.unlisted());
    let mut answer = HttpResponse::NoContent().finish();
    for (name, value) in cors::preflight(&front.origins, request.headers(), operation, &methods) {
        answer.headers_mut().append(name, value);
    }
    Some(answer)
}

/// Judges a request within the time of its class: what more it has is its body's, or for what its handler waits for.
async fn judge_in_time(
    seen: &mut Seen<'_>,
    request: &ServiceRequest,
    call: Call,
    is_known: bool,
) -> Result<Caller, Box<Problem>> {
    let until = seen.started + call.class.time();
    match timeout_at(until.into(), judge(seen, request, call, is_known)).await {
        Ok(judged) => judged,
        Err(_late) => Err(Box::new(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None))),
    }
}

/// Everything that can be said about a request before its handler looks at it.
async fn judge(
    seen: &mut Seen<'_>,
    request: &ServiceRequest,
    call: Call,
    is_known: bool,
) -> Result<Caller, Box<Problem>> {
    judge_head(request)?;
    judge_start(path(request), seen.front)?;
    let caller = admit(seen, request, call).await?;
    judge_version(request)?;
    judge_encoding(request.query_string())?;
    if !is_known {
        judge_method(request, &seen.front.operations)?;
    }
    judge_query(request, seen.operation, &caller, &seen.front.clock)?;
    if is_known && (caller.access.is_ok() || caller.person.is_ok() || seen.operation.public) {
        judge_path(path(request))?;
    }
    Ok(caller)
}

/// What the caller shows. Probes, documents and pages are everybody's: what is sent along is not looked up.
fn shown(request: &ServiceRequest) -> Credential {
    match path(request).starts_with("/api/") {
        true => credentials::credential(request.headers()),
        false => Credential::None,
    }
}

/// Finds out who calls, and whether they may ask for so much.
async fn admit(seen: &mut Seen<'_>, request: &ServiceRequest, call: Call) -> Result<Caller, Box<Problem>> {
    let front = seen.front;
    let (limits, doorkeeper) = (&front.limits, &front.doorkeeper);
    let (ip, class) = (call.ip, seen.operation.rate);
    let headers = request.headers();
    let credential = shown(request);
    let met = front.acquaintances.meet(&credential);
    let is_software = matches!(credential, Credential::License(_));
    let software = met.hash.filter(|_| is_software).map(|hash| (ip, hash, class));
    if let Some(refused) = software.and_then(|software| front.acquaintances.overdrawn.look(&software)) {
        seen.recall(refused);
        return Err(Box::new(seen.verdict.problem().unwrap_or(RATE_LIMITED.into())));
    }
    let arrival = match class {
        RateClass::Free => None,
        // The customer's software is counted by its licence, providers' events are known by their signature.
        RateClass::Ingress => Some(limits.arrive(ip, Shown::Known).await),
        _ if is_software => Some(limits.arrive(ip, Shown::Known).await),
        _ => Some(limits.arrive(ip, met.shown).await),
    };
    if let Some(refused) = arrival.as_ref().and_then(|arrival| arrival.verdict.problem()) {
        seen.verdict = arrival.map(|arrival| arrival.verdict).unwrap_or_default();
        return Err(Box::new(refused));
    }

    let sensitive = seen.operation.is_sensitive();
    let (named, unclear) = credentials::workspace(headers).map_or_else(|twice| (None, Some(twice)), |it| (it, None));
    let mut caller = doorkeeper.judge(&credential, named, call, sensitive).await;
    caller.access = unclear.filter(|_| caller.person.is_ok()).map_or(caller.access, Err);
    if let Some(arrival) = arrival {
        let is_good = caller.person.is_ok() || caller.access.is_ok();
        front.acquaintances.learn(&met, is_good);
        seen.verdict = limits.settle(arrival, is_good || is_our_trouble(&caller)).await;
    }
    seen.meet(&caller);
    // Before anything is taken of its own limits. What concerns the account alone takes nothing from the others of its workspace.
    let in_workspace = matches!(seen.operation.admission, Class::Interactive | Class::Long);
    if let (Some(place), Ok(access), true) = (&seen.place, &caller.access, in_workspace && seen.verdict.is_allowed())
        && let Err(refused) = place.belong_to(access.scope().workspace())
    {
        limits.forgive(ip, &seen.verdict).await;
        seen.is_crowded = true;
        return Err(Box::new(refused));
    }
    if seen.verdict.is_allowed()
        && let Some(own) = own_limits(limits, seen.operation, &caller).await
    {
        if let (false, Some(software), Ok(access)) = (own.is_allowed(), software, &caller.access) {
            front.acquaintances.overdrawn.note(software, &own, access.scope());
            limits.forgive(ip, &seen.verdict).await;
        }
        seen.verdict = std::mem::take(&mut seen.verdict).and(own);
    }
    if let Some(refused) = seen.verdict.problem() {
        return Err(Box::new(refused));
    }
    if let Some(refused) = misplaced(seen, headers, &caller, named).await {
        caller = without_credential(caller, refused);
    }
    Ok(caller)
}

/// Why what is shown does not count here: another workspace than its own is named beside it, or a browser sent it for somebody else's page.
async fn misplaced(seen: &Seen<'_>, headers: &HeaderMap, caller: &Caller, named: Option<&str>) -> Option<Problem> {
    if let Ok(access) = &caller.access
        && let Err(refused) = seen.front.doorkeeper.expect_own(access, named).await
    {
        return Some(refused);
    }
    match credentials::is_ambient(headers) && seen.method != Method::GET {
        true => cors::expect_own_page(&seen.front.origins, headers).err(),
        false => None,
    }
}

/// Whatever asks for the credential is refused; what needs none goes on without it.
fn without_credential(caller: Caller, refused: Problem) -> Caller {
    Caller {
        person: caller.person.and(Err(refused.clone())),
        access: caller.access.and(Err(refused)),
        ..caller
    }
}

/// What is counted of whoever calls, now that it is known who that is: their workspace's limits, their licence's, or their own.
async fn own_limits(limits: &Limits, operation: &Operation, caller: &Caller) -> Option<Verdict> {
    let (ip, rate) = (caller.call.ip, operation.rate);
    match (&caller.access, &caller.person) {
        _ if matches!(rate, RateClass::Free | RateClass::Ingress) => None,
        (Err(refusal), _) if refusal.kind() == LICENSE_UNKNOWN => Some(limits.refuse_guessing(ip).await),
        (Ok(access), _) if let Some(permission) = operation.permission => {
            match (access.scope().actor(), caller.shown) {
                (Actor::License(license), Some(shown)) => Some(limits.admit_license(license, shown, ip, rate).await),
                // Who may not do it takes nothing of what there is for those who may.
                _ if !access.allows(permission) => Some(limits.admit(access.scope(), RateClass::Read).await),
                _ => Some(limits.admit(access.scope(), rate).await),
            }
        }
        (_, Ok(person)) if operation.permission.is_none() => Some(limits.admit_person(person).await),
        _ => None,
    }
}

/// True if the credential could not be judged: that is not its fault.
fn is_our_trouble(caller: &Caller) -> bool {
    matches!(&caller.person, Err(refusal) if refusal.kind().status >= 500)
}

fn call(request: &ServiceRequest, operation: &Operation, front: &Front, started: Instant) -> Call {
    let peer = request.peer_addr().map(|address| address.ip());
    let trusted = headers::is_trusted(peer, &front.trusted_proxies);
    let text = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let given = headers::request_id(request.headers(), trusted);
    Call {
        request_id: given.map_or_else(|| RequestId::quick(front.clock.now()).to_text().into(), Arc::from),
        trace: text(&headers::names::TRACE)
            .and_then(Trace::continued)
            .unwrap_or_default(),
        operation: operation.id,
        class: operation.admission,
        deadline: started + operation.admission.time() + more_time(request, operation),
        read_only: request.method() == Method::GET,
        works_unpaid: operation.works_unpaid,
        works_suspended: operation.works_suspended || operation.is_export(request.headers()),
        session: None,
        ip: headers::client(request.headers(), peer, &front.trusted_proxies),
        user_agent: text(&USER_AGENT).map(|agent| agent.chars().take(400).collect()),
        place: None,
    }
}
