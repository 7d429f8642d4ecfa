//! The call that a step makes to a model: what is asked, who is asked, and the most that it may cost.

use std::time::Duration as Wait;

use super::{
    super::{
        model::rows::{Failure, StepRow},
        queries,
    },
    turn::Turn,
};
use crate::{
    features::{
        agents::plan::{Llm, Node, Work},
        providers::{ChatRequest, Message, Model, Providers, Role, TokenUsage},
    },
    kernel::error::Result,
};

/// A call that a step makes.
pub(super) struct Call {
    pub(super) request: ChatRequest,
    pub(super) models: Vec<Model>,
    pub(super) timeout: Wait,
    /// The most that it may use and cost: what is held until the truth is known. One call's worth; for another model more is held.
    pub(super) worst: TokenUsage,
    pub(super) hold: i64,
}

/// The call that a step makes, if it can be made within the run's budget. Inside: why the run fails.
pub(super) fn prepare(
    turn: &mut Turn<'_, '_>,
    providers: &Providers,
    step: &StepRow,
    node: Option<Node>,
) -> Result<Result<Call, Failure>> {
    let Some(Node {
        common,
        work: Work::Llm(llm),
    }) = node
    else {
        return Ok(Err(Failure::of(
            "internal",
            "The step is not one that waits in the queue.",
        )));
    };
    let names = std::iter::once(&llm.model).chain(&llm.fallback_models);
    let models: Vec<Model> = names.filter_map(|name| providers.find(name)).collect();
    let Some(first) = models.first() else {
        let message = format!("There is no model {} any more.", llm.model);
        return Ok(Err(Failure::of("step_failed", message)));
    };
    let request = question(turn, step, &llm, first)?;
    let worst = TokenUsage {
        estimated: true,
        ..TokenUsage::of_call(request.estimated_tokens(), i64::from(llm.max_output_tokens))
    };
    let prices = models.iter().filter_map(|model| model.price);
    let dearest = prices
        .map(|price| price.of(worst.input_tokens, worst.output_tokens))
        .max();
    let hold = dearest.unwrap_or(0);
    if let Some(most) = turn.run.max_cost_micros {
        let spent = turn.run.cost_micros + queries::steps::held(turn.tx.conn(), turn.run.id, step.id)?;
        if spent + hold > most {
            let message = format!("The next call may cost {hold} micros; {spent} of {most} are spent.");
            return Ok(Err(Failure::of("budget_exceeded", message)));
        }
    }
    Ok(Ok(Call {
        request,
        models,
        timeout: Wait::from_secs(u64::from(common.timeout_seconds.unwrap_or(600).clamp(1, 86_400))),
        worst,
        hold,
    }))
}

/// The conversation that the step continues, as a question to a model.
fn question(turn: &mut Turn<'_, '_>, step: &StepRow, llm: &Llm, model: &Model) -> Result<ChatRequest> {
    let upto = step
        .input
        .as_ref()
        .and_then(|input| input["upto"].as_i64())
        .and_then(|upto| i32::try_from(upto).ok())
        .unwrap_or(0);
    let said = queries::trail::said(turn.tx.conn(), turn.run.id, &llm.scope, upto)?;
    let messages = said
        .into_iter()
        .map(|(role, content)| Message {
            role: Role::named(&role).unwrap_or(Role::User),
            content: content.as_str().map_or_else(|| content.to_string(), str::to_owned),
        })
        .collect();
    Ok(ChatRequest {
        model: model.id.clone(),
        messages,
        temperature: llm.temperature,
        top_p: llm.top_p,
        max_output_tokens: llm.max_output_tokens,
        stop: llm.stop.clone(),
        seed: llm.seed,
        reasoning_effort: llm.reasoning_effort.clone(),
        response_format: llm.response_format.clone(),
    })
}
