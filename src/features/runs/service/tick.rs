//! The tick. All nodes that are ready run on the same state; when the last of them is done, what they wrote merges in the order of the
//! nodes, the state is kept, and the edges say which nodes are ready next. Inline nodes run here, in the transaction that reaches them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    super::{
        model::{
            Status, StepId, StepStatus,
            rows::{Checkpoint, Failure, NewMessage, NewStep},
        },
        queries,
    },
    state::{self, State},
    turn::Turn,
};
use crate::{
    features::{
        agents::{
            plan::{Node, OnError, PromptMessage, Reducer, Work},
            schemas,
        },
        prompts::{self, Binding, Fault},
    },
    kernel::error::Result,
};

/// So many ticks of inline nodes in one transaction.
const ROUNDS: usize = 64;
/// The largest state, in bytes.
const LARGEST: usize = 4 << 20;
/// A whole state is kept after so many differences.
const WHOLE_EVERY: usize = 20;

/// The first tick.
///
/// # Errors
/// 503; inside: why the run fails.
pub(super) fn first(turn: &mut Turn<'_, '_>) -> Result<Result<(), Failure>> {
    let entry = turn.plan.entry.iter().cloned().collect();
    run(turn, State::new(), entry)
}

/// The tick is over: merges what its nodes wrote, and goes on.
///
/// # Errors
/// 503; inside: why the run fails.
pub(super) fn over(turn: &mut Turn<'_, '_>) -> Result<Result<(), Failure>> {
    let outputs = queries::steps::outputs(turn.tx.conn(), turn.run.id, turn.run.tick)?;
    let state = read(turn)?;
    match merged(turn, state, outputs)? {
        Ok((state, next)) => run(turn, state, next),
        Err(failure) => Ok(Err(failure)),
    }
}

/// Runs ticks until one waits for the queue, or nothing is left to do.
fn run(turn: &mut Turn<'_, '_>, mut state: State, mut ready: BTreeSet<String>) -> Result<Result<(), Failure>> {
    for _ in 0..ROUNDS {
        if ready.is_empty() {
            return complete(turn, &state);
        }
        let limit = turn.plan.limits.max_steps;
        if turn.run.step_seq + ready.len() as i32 > limit {
            return Ok(Err(Failure::of(
                "plan_limit",
                format!("A run has at most {limit} steps."),
            )));
        }
        turn.run.tick += 1;
        let outputs = match inline(turn, &state, &ready)? {
            Ok(outputs) => outputs,
            Err(failure) => return Ok(Err(failure)),
        };
        let waits = queue(turn, &ready)?;
        if waits > 0 {
            turn.run.open_steps = waits;
            return Ok(Ok(()));
        }
        match merged(turn, state, outputs)? {
            Ok((merged, next)) => (state, ready) = (merged, next),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Err(Failure::of(
        "plan_limit",
        format!("More than {ROUNDS} inline ticks in a row."),
    )))
}

/// What nodes wrote, by node.
type Outputs = Vec<(String, Option<Value>)>;

/// Runs the inline nodes that are ready. Answers what they wrote.
fn inline(turn: &mut Turn<'_, '_>, state: &State, ready: &BTreeSet<String>) -> Result<Result<Outputs, Failure>> {
    let plan = turn.plan.clone();
    let bindings = bindings(turn, state);
    let mut outputs = Vec::new();
    for id in ready {
        let node = &plan.nodes[id];
        let step = StepId::new(turn.now);
        let written = match &node.work {
            Work::Prompt { scope, messages } => prompt(turn, step, scope, messages, &bindings)?,
            Work::Transform { value } => prompts::evaluate(value, &bindings),
            Work::Llm(_) => continue,
        };
        let result = written.map(state::storable).map_err(|fault| Failure {
            node_id: Some(id.clone()),
            ..Failure::of("expression_failed", fault.to_string())
        });
        match done(turn, step, id, node, result)? {
            Ok(output) => outputs.push((id.clone(), Some(output))),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Ok(outputs))
}

/// Renders the messages of a prompt and adds them to its conversation. Answers the place in the conversation.
fn prompt(
    turn: &mut Turn<'_, '_>,
    step: StepId,
    scope: &str,
    messages: &[PromptMessage],
    bindings: &Binding,
) -> Result<Result<Value, Fault>> {
    let texts = match prompts::render_all(messages.iter().map(|message| message.content.as_str()), bindings) {
        Ok(texts) => texts.into_iter().map(Value::String),
        Err(fault) => return Ok(Err(fault)),
    };
    let said = messages.iter().map(|message| message.role.key()).zip(texts).collect();
    Ok(Ok(json!({ "scope": scope, "upto": say(turn, scope, step, said)? })))
}

/// Writes down that an inline node was run. Answers what counts as its output; inside: why the run fails.
fn done(
    turn: &mut Turn<'_, '_>,
    id: StepId,
    node_id: &str,
    node: &Node,
    result: Result<Value, Failure>,
) -> Result<Result<Value, Failure>> {
    let (status, event, output, error) = match (result, node.common.on_error) {
        (Ok(output), _) => (StepStatus::Completed, "step.completed", output, None),
        (Err(failure), OnError::Continue) => {
            let output = json!({ "error": failure });
            (StepStatus::Failed, "step.failed", output, Some(failure.document()))
        }
        (Err(failure), OnError::Fail) => return Ok(Err(failure)),
    };
    turn.run.step_seq += 1;
    let number = turn.run.step_seq;
    let new = NewStep {
        id,
        run_id: turn.run.id,
        number,
        node_id,
        path: node_id,
        tick: turn.run.tick,
        kind: node.work.kind(),
        effect: node.work.effect().word(),
        status,
        attempt: 1,
        max_attempts: 1,
        input: None,
        output: Some(output.clone()),
        error,
        started_at: Some(turn.now),
        finished_at: Some(turn.now),
    };
    queries::steps::insert(turn.tx.conn(), &[new])?;
    turn.event(event, Some(number), json!({ "node": node_id }));
    Ok(Ok(output))
}

/// Makes the steps that the queue will run. Answers how many.
fn queue(turn: &mut Turn<'_, '_>, ready: &BTreeSet<String>) -> Result<i32> {
    let plan = turn.plan.clone();
    let mut waits = 0;
    for id in ready {
        let node = &plan.nodes[id];
        let Work::Llm(llm) = &node.work else { continue };
        let upto = queries::trail::length(turn.tx.conn(), turn.run.id, &llm.scope)?;
        turn.run.step_seq += 1;
        let new = NewStep {
            id: StepId::new(turn.now),
            run_id: turn.run.id,
            number: turn.run.step_seq,
            node_id: id,
            path: id,
            tick: turn.run.tick,
            kind: node.work.kind(),
            effect: node.work.effect().word(),
            status: StepStatus::Pending,
            attempt: 0,
            max_attempts: node.common.retry.unwrap_or_default().attempts.clamp(1, 10) as i32,
            input: Some(json!({ "scope": llm.scope, "upto": upto })),
            output: None,
            error: None,
            started_at: None,
            finished_at: None,
        };
        turn.queued.push(new.id);
        queries::steps::insert(turn.tx.conn(), &[new])?;
        waits += 1;
    }
    Ok(waits)
}

/// Adds messages to a conversation. Answers its length.
pub(super) fn say(turn: &mut Turn<'_, '_>, scope: &str, step: StepId, said: Vec<(&'static str, Value)>) -> Result<i32> {
    let mut seq = queries::trail::length(turn.tx.conn(), turn.run.id, scope)?;
    let run_id = turn.run.id;
    let messages: Vec<NewMessage<'_>> = said
        .into_iter()
        .map(|(role, content)| {
            seq += 1;
            NewMessage {
                run_id,
                scope,
                seq,
                role,
                content: state::storable(content),
                step_id: Some(step),
            }
        })
        .collect();
    queries::trail::add_messages(turn.tx.conn(), &messages)?;
    Ok(seq)
}

type Merged = Result<(State, BTreeSet<String>), Failure>;

/// Merges what the nodes of a tick wrote, in the order of the nodes, keeps the state, and follows the edges.
fn merged(turn: &mut Turn<'_, '_>, before: State, outputs: Vec<(String, Option<Value>)>) -> Result<Merged> {
    let plan = turn.plan.clone();
    let outputs: BTreeMap<String, Option<Value>> = outputs.into_iter().collect();
    let mut state = before.clone();
    let mut next = BTreeSet::new();
    for (id, output) in outputs {
        next.extend(plan.after(&id).map(str::to_owned));
        let (Some(key), Some(value)) = (plan.nodes.get(&id).and_then(|node| node.common.writes.as_ref()), output)
        else {
            continue;
        };
        let reducer = plan.reducers.get(key).copied().unwrap_or(Reducer::Replace);
        if state::merge(&mut state, key, reducer, value).is_none() {
            let failure = Failure::of("invalid_output", format!("What {id} wrote does not fit into {key}."));
            return Ok(Err(Failure {
                node_id: Some(id),
                ..failure
            }));
        }
    }
    let schema = plan.state_schema.as_ref();
    if let Some(Err(faults)) = schema.map(|schema| schemas::accepts(schema, &Value::Object(state.clone()), "/state")) {
        let place = faults
            .first()
            .map_or_else(String::new, |fault| format!("{}: {}", fault.pointer, fault.detail));
        return Ok(Err(Failure::of("invalid_output", place)));
    }
    if Value::Object(state.clone()).to_string().len() > LARGEST {
        return Ok(Err(Failure::of("invalid_output", "The state is larger than 4 MiB.")));
    }
    let names: Vec<String> = next.iter().cloned().collect();
    keep(turn, &before, &state, names)?;
    Ok(Ok((state, next)))
}

/// Keeps the state after a tick: whole at first, at the end and now and then, else what changed.
fn keep(turn: &mut Turn<'_, '_>, before: &State, state: &State, next: Vec<String>) -> Result<()> {
    let seq = turn.run.checkpoint_seq + 1;
    let is_whole = seq == 1 || next.is_empty() || (seq as usize).is_multiple_of(WHOLE_EVERY);
    let body = if is_whole {
        Value::Object(state.clone())
    } else {
        state::difference(before, state)
    };
    let checkpoint = Checkpoint {
        run_id: turn.run.id,
        seq,
        tick: turn.run.tick,
        parent_seq: Some(seq - 1).filter(|parent| *parent > 0),
        kind: if is_whole { "full" } else { "delta" }.into(),
        body,
        reason: if next.is_empty() { "final" } else { "tick" }.into(),
        next,
    };
    queries::trail::add_checkpoint(turn.tx.conn(), &checkpoint)?;
    turn.run.checkpoint_seq = seq;
    turn.event("checkpoint.created", None, json!({ "seq": seq, "tick": turn.run.tick }));
    Ok(())
}

/// The state as the last checkpoints have it.
fn read(turn: &mut Turn<'_, '_>) -> Result<State> {
    let mut state = State::new();
    for checkpoint in queries::trail::checkpoints(turn.tx.conn(), turn.run.id)? {
        match (checkpoint.kind.as_str(), checkpoint.body) {
            ("full", Value::Object(whole)) => state = whole,
            (_, difference) => state::apply(&mut state, &difference),
        }
    }
    Ok(state)
}

/// Nothing is left to do: the output is rendered and judged.
fn complete(turn: &mut Turn<'_, '_>, state: &State) -> Result<Result<(), Failure>> {
    let plan = turn.plan.clone();
    let output = match prompts::evaluate(&plan.output, &bindings(turn, state)) {
        Ok(output) => state::storable(output),
        Err(fault) => return Ok(Err(Failure::of("expression_failed", fault.to_string()))),
    };
    if let Some(Err(faults)) = plan
        .output_schema
        .as_ref()
        .map(|schema| schemas::accepts(schema, &output, "/output"))
    {
        let place = faults
            .first()
            .map_or_else(String::new, |fault| format!("{}: {}", fault.pointer, fault.detail));
        return Ok(Err(Failure::of("invalid_output", place)));
    }
    if turn.run.status == Status::Pending {
        turn.go(Status::Running);
    }
    turn.go(Status::Completed);
    turn.run.output = Some(output);
    turn.run.progress = 100;
    turn.event("run.completed", None, json!({}));
    Ok(Ok(()))
}

/// What templates can read.
fn bindings(turn: &Turn<'_, '_>, state: &State) -> Binding {
    let mut bindings = Binding::new();
    bindings.insert("input".into(), turn.run.input.clone());
    bindings.insert("state".into(), Value::Object(state.clone()));
    bindings.insert(
        "run".into(),
        json!({ "id": turn.run.id, "subject": turn.run.subject, "created_at": turn.run.created_at }),
    );
    bindings
}
