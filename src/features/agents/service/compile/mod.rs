//! A framework is a compiler: configuration in, plan out. All that is wrong with a configuration is said at once.

mod openai;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::model::{
    Framework,
    plan::{END, Node, Plan, Work},
};
use crate::{
    features::{prompts, providers::Providers},
    kernel::{
        check::{self, Check},
        crypto::sha256,
        error::{FieldCode, FieldError},
    },
};

/// The largest plan, in bytes of its canonical text.
const LARGEST: usize = 1 << 20;

/// A plan with its name.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// The same as a document.
    pub body: Value,
    /// SHA-256 of the canonical text (JCS, RFC 8785).
    pub sha256: [u8; 32],
    /// The length of that text, in bytes.
    pub size: usize,
}

/// Compiles a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile(framework: Framework, config: &Value, providers: &Providers) -> Result<Compiled, Vec<FieldError>> {
    let plan = match framework {
        Framework::Openai => openai::compile(config, providers)?,
        other => return Err(vec![not_built(other)]),
    };
    let mut check = Check::default();
    judge(&plan, &mut check);
    let faults = check.into_errors();
    if !faults.is_empty() {
        return Err(faults);
    }
    named(plan).map_err(|fault| vec![fault])
}

/// Whether a framework can be compiled at all.
///
/// # Errors
/// Not yet.
pub fn available(framework: Framework) -> Result<(), FieldError> {
    if framework == Framework::Openai {
        Ok(())
    } else {
        Err(not_built(framework))
    }
}

fn not_built(framework: Framework) -> FieldError {
    FieldError {
        pointer: "/framework".into(),
        code: FieldCode::InvalidChoice,
        detail: format!("{framework} is not available here; openai is."),
    }
}

/// SHA-256 of framework and configuration: tells whether two drafts are the same.
pub fn fingerprint(framework: Framework, config: &Value) -> [u8; 32] {
    sha256(&canonical(&json!([framework, config])))
}

fn canonical(document: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(document).expect("a JSON document has a canonical text")
}

fn named(plan: Plan) -> Result<Compiled, FieldError> {
    let body = serde_json::to_value(&plan).expect("a plan is plain data");
    let text = canonical(&body);
    if text.len() > LARGEST {
        let detail = format!("The plan has {} bytes; {LARGEST} are the most.", text.len());
        return Err(FieldError {
            pointer: "/config".into(),
            code: FieldCode::TooLarge,
            detail,
        });
    }
    Ok(Compiled {
        plan,
        body,
        sha256: sha256(&text),
        size: text.len(),
    })
}

fn template(pointer: &str, text: &str, check: &mut Check) {
    if let Err(fault) = prompts::check(text) {
        check.refuse(pointer, FieldCode::InvalidFormat, fault.to_string());
    }
}

/// What every plan must keep, whichever compiler made it.
fn judge(plan: &Plan, check: &mut Check) {
    check.count("/nodes", plan.nodes.len(), 500);
    check.count("/edges", plan.edges.len(), 2_000);
    let known = |id: &str| plan.nodes.contains_key(id);
    for (place, id) in plan.entry.iter().enumerate().filter(|(_, id)| !known(id)) {
        check.refuse(
            format!("/entry/{place}"),
            FieldCode::NotFound,
            format!("There is no node {id}."),
        );
    }
    for (place, edge) in plan.edges.iter().enumerate() {
        if !known(&edge.from) || !(known(&edge.to) || edge.to == END) {
            check.refuse(
                format!("/edges/{place}"),
                FieldCode::NotFound,
                "Both ends must be nodes.",
            );
        }
    }
    let reached = reach(plan.entry.iter().map(String::as_str), |id| plan.after(id).collect());
    let back = |id: &str| {
        plan.edges
            .iter()
            .filter(|edge| edge.to == id)
            .map(|edge| edge.from.as_str())
            .collect()
    };
    let ends = reach([END].into_iter(), back);
    for id in plan.nodes.keys() {
        let pointer = || format!("/nodes/{}", check::escape(id));
        if !reached.contains(id.as_str()) {
            check.refuse(pointer(), FieldCode::InvalidFormat, "Nothing leads here.");
        }
        if !ends.contains(id.as_str()) {
            check.refuse(
                pointer(),
                FieldCode::InvalidFormat,
                "Nothing leads from here to the end.",
            );
        }
    }
    template("/output", &plan.output, check);
}

/// Everything that can be reached.
fn reach<'a>(from: impl Iterator<Item = &'a str>, next: impl Fn(&'a str) -> Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = from.collect();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(next(id));
        }
    }
    seen
}

/// The most that one pass through the plan costs, in micros of a dollar, the templates taken as they stand; `None` if a model has no
/// price.
pub fn dearest(plan: &Plan, providers: &Providers) -> Option<i64> {
    let text = |node: &Node| match &node.work {
        Work::Prompt { messages, .. } => messages
            .iter()
            .map(|message| message.content.len().div_ceil(4) as i64 + 4)
            .sum(),
        Work::Llm(_) | Work::Transform { .. } => 0,
    };
    let read: i64 = plan.nodes.values().map(text).sum();
    let mut sum = 0_i64;
    for node in plan.nodes.values() {
        if let Work::Llm(llm) = &node.work {
            let price = providers.find(&llm.model)?.price?;
            sum = sum.saturating_add(price.of(read, i64::from(llm.max_output_tokens)));
        }
    }
    Some(sum)
}
