//! HTTP of runs.

mod waiting;

use actix_web::{HttpRequest, HttpResponse, Responder, get, http::header::HeaderValue, post, web::Data};
use utoipa_actix_web::service_config::ServiceConfig;

use self::waiting::{Patience, Waited};
use super::{
    model::{
        AgentExecutionFilters, ExecutionFilters, MessageFilters, MessagePage, Run, RunFilters, RunId, RunPage,
        RunResult, RunStatus, RunUsage, Status, Step, StepFilters, StepPage,
        input::{Cancellation, NewExecution},
    },
    service,
};
use crate::{
    features::{agents::AgentId, providers::Providers},
    kernel::{
        access::{Can, Scope, perm},
        db::Db,
        error::Result,
        http::{Accepted, IdempotencyKey, IfMatch, Json, NoQuery, Path, Paths, REPLAYED, Tagged, Valid},
        idempotency::{Once, Stored, once},
        page::PageQuery,
    },
};

/// The routes of this slice.
pub fn routes(routes: &mut ServiceConfig) {
    routes
        .service(execute)
        .service(list_of_agent)
        .service(list_executions)
        .service(show_execution)
        .service(list)
        .service(show)
        .service(status)
        .service(result)
        .service(list_steps)
        .service(show_step)
        .service(list_messages)
        .service(money)
        .service(cancel);
}

/// Execute an agent.
///
/// The run is accepted with 202 and goes on by itself. With `wait`, or `Prefer: wait=…`, the answer is 200 and the run as it ended, if it
/// ends in time. The parameter goes before the header; `Preference-Applied` says how much of the header was granted.
#[utoipa::path(operation_id = "agents_execute",
               params(("id" = AgentId, Path, description = "The agent."),
                      ("wait" = Option<u64>, Query, description = "Wait so many seconds for the end.", minimum = 0, maximum = 60),
                      ("Prefer" = Option<String>, Header, description = "`wait=` and as many seconds: the same as the parameter, as a wish.", example = "wait=10")),
               request_body = NewExecution,
               responses((status = 202, description = "It was accepted.", body = Run), (status = 200, description = "It ended in time.", body = Run)),
               extensions(("x-permission" = json!("runs:execute")), ("x-idempotent" = json!(true)), ("x-rate-class" = json!("execute")),
                          ("x-admission" = json!("interactive")), ("x-body-limit" = json!(1_048_576))))]
#[post("/agents/{id}/execute")]
async fn execute(
    can: Can<perm::RunsExecute>,
    asked: Patience,
    db: Data<Db>,
    providers: Data<Providers>,
    Path(id): Path<AgentId>,
    key: IdempotencyKey,
    new: Valid<NewExecution>,
) -> Result<Waited<Executed>> {
    let granted = can.granted();
    let scope = Scope::from(can);
    let accepted = db
        .tenant(scope.clone(), move |tx| {
            once(tx, &key, &new, |tx| {
                service::accept::accept(tx, &providers, id, &new, granted).map(Accepted)
            })
        })
        .await?;
    match accepted {
        Once::Now(Accepted(run)) => {
            let (run, wait) = asked.settle(&db, &scope, run).await;
            let outcome = match run.status.is_final() && !wait.is_zero() {
                true => Executed::Over(Tagged(run)),
                false => Executed::Accepted(Once::Now(Accepted(run))),
            };
            Ok(asked.granted(wait, outcome))
        }
        Once::Before(answer) => again(&db, &scope, asked, answer).await,
    }
}

/// The answer to an execution that was asked for before: as it was then, or the run as it ended where the caller waits for that.
async fn again(db: &Db, scope: &Scope, asked: Patience, before: Stored) -> Result<Waited<Executed>> {
    let waits = !asked.within(scope.call()).is_zero();
    let Some(id) = before.id::<Run>().filter(|_| waits) else {
        return Ok(Waited::not(Executed::Accepted(Once::Before(before))));
    };
    let run = db.tenant(scope.clone(), move |tx| service::get(tx, id)).await?;
    let (run, wait) = asked.settle(db, scope, run).await;
    let outcome = match run.status.is_final() && !wait.is_zero() {
        true => Executed::OverBefore(Tagged(run)),
        false => Executed::Accepted(Once::Before(before)),
    };
    Ok(asked.granted(wait, outcome))
}

/// The answer to an execution.
enum Executed {
    Accepted(Once<Accepted<Run>>),
    Over(Tagged<Run>),
    /// The same, of a run that was started by this key before.
    OverBefore(Tagged<Run>),
}

impl Responder for Executed {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        match self {
            Executed::Accepted(answer) => answer.respond_to(request),
            Executed::Over(answer) => answer.respond_to(request),
            Executed::OverBefore(answer) => {
                let mut response = answer.respond_to(request);
                response
                    .headers_mut()
                    .insert(REPLAYED, HeaderValue::from_static("true"));
                response
            }
        }
    }
}

/// List an agent's executions.
#[utoipa::path(operation_id = "agents_list_executions",
               params(("id" = AgentId, Path, description = "The agent."),
                      PageQuery<AgentExecutionFilters>,
                      ("status" = Option<Vec<Status>>, Query, description = "Only these states."),
                      ("subject" = Option<Vec<String>>, Query, description = "Only about these."),
                      ("tag" = Option<Vec<String>>, Query, description = "Only with one of these tags.")),
               responses((status = 200, description = "A page of them.", body = RunPage)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/agents/{id}/executions")]
async fn list_of_agent(
    can: Can<perm::RunsRead>,
    db: Data<Db>,
    Path(id): Path<AgentId>,
    query: PageQuery<AgentExecutionFilters>,
) -> Result<Json<RunPage>> {
    db.tenant(can, move |tx| service::of_agent(tx, id, query))
        .await
        .map(|page| Json(page.into()))
}

/// List executions.
#[utoipa::path(operation_id = "executions_list",
               params(PageQuery<ExecutionFilters>,
                      ("status" = Option<Vec<Status>>, Query, description = "Only these states."),
                      ("agent_id" = Option<Vec<AgentId>>, Query, description = "Only of these agents."),
                      ("subject" = Option<Vec<String>>, Query, description = "Only about these."),
                      ("tag" = Option<Vec<String>>, Query, description = "Only with one of these tags.")),
               responses((status = 200, description = "A page of them.", body = RunPage)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/executions")]
async fn list_executions(
    can: Can<perm::RunsRead>,
    db: Data<Db>,
    query: PageQuery<ExecutionFilters>,
) -> Result<Json<RunPage>> {
    let mut query = query.widened(|own| own.0);
    query.filters.kinds = vec![super::model::RunKind::Execution];
    db.tenant(can, move |tx| service::list(tx, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Show an execution.
#[utoipa::path(operation_id = "executions_get", params(("id" = RunId, Path, description = "The run.")),
               responses((status = 200, description = "The run.", body = Run), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/executions/{id}")]
async fn show_execution(
    can: Can<perm::RunsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<RunId>,
) -> Result<Tagged<Run>> {
    db.tenant(can, move |tx| service::execution(tx, id)).await.map(Tagged)
}

/// List runs.
#[utoipa::path(operation_id = "runs_list",
               params(PageQuery<RunFilters>,
                      ("kind" = Option<Vec<super::model::RunKind>>, Query, description = "Only these kinds."),
                      ("status" = Option<Vec<Status>>, Query, description = "Only these states."),
                      ("agent_id" = Option<Vec<AgentId>>, Query, description = "Only of these agents."),
                      ("subject" = Option<Vec<String>>, Query, description = "Only about these."),
                      ("tag" = Option<Vec<String>>, Query, description = "Only with one of these tags.")),
               responses((status = 200, description = "A page of them.", body = RunPage)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs")]
async fn list(can: Can<perm::RunsRead>, db: Data<Db>, query: PageQuery<RunFilters>) -> Result<Json<RunPage>> {
    db.tenant(can, move |tx| service::list(tx, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Show a run.
///
/// With `wait`, or `Prefer: wait=…`, the answer comes when the run has ended or waits, or when the time is over. The parameter goes before
/// the header; `Preference-Applied` says how much of the header was granted.
#[utoipa::path(operation_id = "runs_get",
               params(("id" = RunId, Path, description = "The run."),
                      ("wait" = Option<u64>, Query, description = "Wait so many seconds for the end.", minimum = 0, maximum = 60),
                      ("Prefer" = Option<String>, Header, description = "`wait=` and as many seconds: the same as the parameter, as a wish.", example = "wait=10")),
               responses((status = 200, description = "The run.", body = Run), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}")]
async fn show(
    can: Can<perm::RunsRead>,
    asked: Patience,
    db: Data<Db>,
    Path(id): Path<RunId>,
) -> Result<Waited<Tagged<Run>>> {
    let scope = Scope::from(can);
    let run = db.tenant(scope.clone(), move |tx| service::get(tx, id)).await?;
    let (run, wait) = asked.settle(&db, &scope, run).await;
    Ok(asked.granted(wait, Tagged(run)))
}

/// Show how far a run is.
#[utoipa::path(operation_id = "runs_status", params(("id" = RunId, Path, description = "The run.")),
               responses((status = 200, description = "How far it is.", body = RunStatus), (status = 304, description = "It is as you have it.")),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}/status")]
async fn status(
    can: Can<perm::RunsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<RunId>,
) -> Result<Tagged<RunStatus>> {
    db.tenant(can, move |tx| service::status(tx, id)).await.map(Tagged)
}

/// Show what came out of a run.
#[utoipa::path(operation_id = "runs_result", params(("id" = RunId, Path, description = "The run.")),
               responses((status = 200, description = "What came out.", body = RunResult),
                         (status = 409, description = "It has not ended yet.")),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}/result")]
async fn result(
    can: Can<perm::RunsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<RunId>,
) -> Result<Json<RunResult>> {
    db.tenant(can, move |tx| service::result(tx, id)).await.map(Json)
}

/// List a run's steps.
#[utoipa::path(operation_id = "runs_list_steps",
               params(("id" = RunId, Path, description = "The run."),
                      PageQuery<StepFilters>),
               responses((status = 200, description = "A page of them.", body = StepPage)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}/steps")]
async fn list_steps(
    can: Can<perm::RunsRead>,
    db: Data<Db>,
    Path(id): Path<RunId>,
    query: PageQuery<StepFilters>,
) -> Result<Json<StepPage>> {
    db.tenant(can, move |tx| service::steps(tx, id, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Show a step.
#[utoipa::path(operation_id = "runs_get_step",
               params(("id" = RunId, Path, description = "The run."), ("number" = i32, Path, description = "The step's number in the run.")),
               responses((status = 200, description = "The step.", body = Step)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}/steps/{number}")]
async fn show_step(
    can: Can<perm::RunsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Paths(id, number): Paths<RunId, i64>,
) -> Result<Json<Step>> {
    let number = i32::try_from(number).unwrap_or(-1);
    db.tenant(can, move |tx| service::step(tx, id, number)).await.map(Json)
}

/// List what was said in a run.
#[utoipa::path(operation_id = "runs_list_messages",
               params(("id" = RunId, Path, description = "The run."),
                      PageQuery<MessageFilters>,
                      ("scope" = Option<String>, Query, description = "The conversation; `main` if absent.")),
               responses((status = 200, description = "A page of it.", body = MessagePage)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}/messages")]
async fn list_messages(
    can: Can<perm::RunsRead>,
    db: Data<Db>,
    Path(id): Path<RunId>,
    query: PageQuery<MessageFilters>,
) -> Result<Json<MessagePage>> {
    db.tenant(can, move |tx| service::messages(tx, id, &query))
        .await
        .map(|page| Json(page.into()))
}

/// Show what a run cost.
#[utoipa::path(operation_id = "runs_usage", params(("id" = RunId, Path, description = "The run.")),
               responses((status = 200, description = "The sums and the entries of the ledger.", body = RunUsage)),
               extensions(("x-permission" = json!("runs:read")), ("x-rate-class" = json!("read")), ("x-admission" = json!("interactive"))))]
#[get("/runs/{id}/usage")]
async fn money(
    can: Can<perm::RunsRead>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<RunId>,
) -> Result<Json<RunUsage>> {
    db.tenant(can, move |tx| service::money(tx, id)).await.map(Json)
}

/// Stop a run.
///
/// Answers at once. A graceful stop lets a call that is under way end, for at most 10 seconds: the run is then still `running`, with
/// `cancel_requested_at` set.
#[utoipa::path(operation_id = "runs_cancel", params(("id" = RunId, Path, description = "The run.")), request_body = Cancellation,
               responses((status = 200, description = "It is stopped, or will be.", body = Run)),
               extensions(("x-if-match" = json!(true)), ("x-permission" = json!("runs:cancel")), ("x-idempotent" = json!(true)), ("x-works-unpaid" = json!(true)), ("x-rate-class" = json!("write")), ("x-admission" = json!("interactive"))))]
#[post("/runs/{id}/cancel")]
async fn cancel(
    can: Can<perm::RunsCancel>,
    _query: NoQuery,
    db: Data<Db>,
    Path(id): Path<RunId>,
    key: IdempotencyKey,
    seen: IfMatch,
    how: Valid<Cancellation>,
) -> Result<Once<Tagged<Run>>> {
    db.tenant(can, move |tx| {
        once(tx, &key, &how, |tx| {
            service::cancel::cancel(tx, id, &seen, how.mode).map(Tagged)
        })
    })
    .await
}
