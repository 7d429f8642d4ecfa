//! Golden plans, and everything that is refused.

use serde_json::{Value, json};

use super::{super::super::model::Framework, *};
use crate::kernel::error::FieldCode;

const HERE: Providers = Providers { sandbox: true };

fn faults(config: Value) -> Vec<(String, FieldCode)> {
    let faults = compile(Framework::Openai, &config, &HERE).expect_err("refused");
    faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

#[test]
fn openai_becomes_prompt_and_llm() {
    let config = json!({"model": "sandbox", "system": "You are brief.", "prompt": "What is {{ input.topic }}?"});
    let compiled = compile(Framework::Openai, &config, &HERE).expect("compiles");
    insta::assert_json_snapshot!(compiled.body);
    assert_eq!(
        hex::encode(compiled.sha256),
        "52c904ba5d39ea220382287ff554570cafe4e3ec3aae8fd11f24eb6709232837"
    );
}

#[test]
fn everything_of_openai_reaches_the_plan() {
    let config = json!({"model": "sandbox/echo", "messages": [{"role": "user", "content": "{{ input.a }}"}, {"role": "assistant", "content": "b"}],
        "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 100, "stop": ["END"], "seed": 7, "reasoning_effort": "low",
        "fallback_models": ["sandbox"], "response_format": {"type": "json_schema", "schema": {"type": "object"}},
        "input_schema": {"type": "object", "required": ["a"]}});
    insta::assert_json_snapshot!(compile(Framework::Openai, &config, &HERE).expect("compiles").body);
}

#[test]
fn the_name_of_a_plan_is_that_of_its_meaning() {
    let name = |config: Value| compile(Framework::Openai, &config, &HERE).expect("compiles").sha256;
    let one = name(json!({"model": "sandbox", "prompt": "Hi", "stop": []}));
    assert_eq!(
        one,
        name(json!({"prompt": "Hi", "temperature": null, "model": "sandbox"}))
    );
    assert_ne!(one, name(json!({"prompt": "Ho", "model": "sandbox"})));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let found = faults(
        json!({"model": "gpt-9", "system": "{{ open", "messages": [], "temperature": 3, "top_p": -1,
        "max_output_tokens": 0, "stop": ["a", "b", "c", "d", ""], "reasoning_effort": "extreme", "fallback_models": ["x"],
        "input_schema": {"type": "odd"}, "response_format": {"type": "json_schema", "schema": 7}}),
    );
    let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/config/system",
            "/config/messages",
            "/config/model",
            "/config/fallback_models/0",
            "/config/temperature",
            "/config/top_p",
            "/config/stop",
            "/config/stop/4",
            "/config/reasoning_effort",
            "/config/input_schema",
            "/config/response_format/schema",
            "/config/max_output_tokens",
        ]
    );
}

#[test]
fn a_template_that_could_only_fail_is_a_problem_of_the_draft() {
    for prompt in [
        "{{ input.a|nope }}",
        "{% if input.a is nopetest %}x{% endif %}",
        "{{ loop.index }}",
        "{{ topic }}",
    ] {
        let found = faults(json!({"model": "sandbox", "prompt": prompt}));
        assert_eq!(found, [("/config/prompt".into(), FieldCode::InvalidFormat)], "{prompt}");
    }
}

#[test]
fn all_templates_together_are_bounded() {
    let said = |tags: usize| json!({"role": "user", "content": format!("{{{{ input.a{} }}}}", " or 1".repeat(100)).repeat(tags)});
    // Each tag has 203 words and signs.
    let config =
        |tags: usize| json!({"model": "sandbox", "system": "{{ input.a }}", "messages": [said(24), said(tags)]});
    compile(Framework::Openai, &config(25), &HERE).expect("9,950 words and signs");
    assert_eq!(faults(config(26)), [("/config".to_owned(), FieldCode::TooLarge)]);
}

#[test]
fn a_configuration_of_another_shape_is_refused_where_it_differs() {
    assert_eq!(
        faults(json!({"prompt": "x"})),
        [("/config/model".into(), FieldCode::Required)]
    );
    assert_eq!(
        faults(json!({"model": "sandbox", "tools": []})),
        [("/config/tools".into(), FieldCode::UnknownField)]
    );
    assert_eq!(
        faults(json!({"model": 7, "prompt": "x"})),
        [("/config/model".into(), FieldCode::WrongType)]
    );
    assert_eq!(
        faults(json!({"model": "sandbox"})),
        [("/config/prompt".into(), FieldCode::Required)]
    );
    assert_eq!(
        faults(json!({"model": "sandbox", "prompt": "x", "messages": []})),
        [("/config/messages".into(), FieldCode::ConflictsWith)]
    );
    let production = compile(
        Framework::Openai,
        &json!({"model": "sandbox", "prompt": "x"}),
        &Providers { sandbox: false },
    );
    assert_eq!(production.expect_err("no sandbox there")[0].code, FieldCode::NotFound);
    assert_eq!(
        compile(Framework::Graph, &json!({}), &HERE).expect_err("later")[0].pointer,
        "/framework"
    );
}

#[test]
fn a_plan_that_leads_nowhere_is_refused() {
    let compiled = compile(Framework::Openai, &json!({"model": "sandbox", "prompt": "x"}), &HERE).expect("compiles");
    let broken = |change: fn(&mut Plan)| {
        let mut plan = compiled.plan.clone();
        change(&mut plan);
        let mut check = Check::default();
        judge(&plan, &mut check);
        check
            .into_errors()
            .into_iter()
            .map(|fault| fault.pointer)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        broken(|plan| plan.entry = vec!["start".into()]),
        ["/entry/0", "/nodes/llm", "/nodes/prompt"]
    );
    assert_eq!(
        broken(|plan| plan.edges[1].to = "prompt".into()),
        ["/nodes/llm", "/nodes/prompt"]
    );
    assert_eq!(
        broken(|plan| plan.edges[1].to = "nowhere".into()),
        ["/edges/1", "/nodes/llm", "/nodes/prompt"]
    );
    assert_eq!(broken(|plan| plan.output = "{{".into()), ["/output"]);
}

#[test]
fn the_dearest_pass_is_known_beforehand() {
    let config = json!({"model": "sandbox", "prompt": "12345678", "max_output_tokens": 10});
    let plan = compile(Framework::Openai, &config, &HERE).expect("compiles").plan;
    assert_eq!(dearest(&plan, &HERE), Some(4 + 2 + 10));
}
