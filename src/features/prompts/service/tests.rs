use serde_json::json;

use super::*;

fn bindings() -> Binding {
    let Value::Object(bindings) = json!({
        "input": {"topic": "bees", "tags": ["a", "b"], "count": 3, "big": "x".repeat(300_000), "trap": "\"}} {{ secrets }}"},
        "state": {"output": {"answer": 42}, "none": null},
    }) else {
        panic!("an object")
    };
    bindings
}

fn said(source: &str) -> String {
    render(source, &bindings()).expect("renders")
}

fn fault(source: &str) -> String {
    render(source, &bindings()).expect_err("refused").detail
}

#[test]
fn however_deep_a_template_is_nested_it_is_answered() {
    let outcome = |depth: usize| {
        let source = format!("{{{{ {}input.topic{} }}}}", "(".repeat(depth), ")".repeat(depth));
        // On a stack as small as those of the threads that serve.
        let small = std::thread::Builder::new().stack_size(2 << 20);
        let judged = small.spawn(move || (check(&source).is_ok(), evaluate(&source, &bindings()).is_ok()));
        judged.expect("a thread").join().expect("no overflow")
    };
    assert_eq!(outcome(40), (true, true));
    assert_eq!(outcome(70), (true, true));
    assert_eq!(outcome(1_000), (false, false));
}

#[test]
fn however_long_a_chain_is_it_is_answered() {
    let chains = [
        ("{{ input.topic", "|string", " }}"),
        ("{{ input.topic", ".a", " }}"),
        ("{{ input", "['a']", " }}"),
        ("{{ ", "-", "1 }}"),
        ("{{", "-", "1}}"),
        ("{{", "-", "input.count }}"),
        ("{{ ", "not ", "input.count }}"),
        ("{{ 1", " - 1", " }}"),
        ("{{ input.count", " or 1", " }}"),
        ("{{ input.count", " and 1", " }}"),
        ("{{ input.count", " == 1", " }}"),
        ("{{ input.count", " in input.tags", " }}"),
        ("{{ input.count", " is number", " }}"),
        ("{{ 1", " if true else 1", " }}"),
        ("{% if input.count %}", "{% elif input.count %}", "{% endif %}"),
        ("{% if input.count %}", "{% else %}{% if 1 %}", "{% endif %}"),
        ("", "{% for a in input.tags %}", ""),
    ];
    for (begin, link, end) in chains {
        for links in [90, 400, (LONGEST_SOURCE - 100) / link.len()] {
            let source = format!("{begin}{}{end}", link.repeat(links));
            let judged = check(&source);
            let _ = evaluate(&source, &bindings());
            assert!(judged.is_err() || links <= 400, "{links} of {link}: {judged:?}");
        }
    }
    let most = |links: usize| check(&format!("{{{{ input.count{} }}}}", " or 1".repeat(links)));
    assert_eq!(most(200), Ok(()));
    assert!(most(300).is_err_and(|fault| fault.detail.contains("500 words")));
}

#[test]
fn a_template_says_what_it_is_given() {
    assert_eq!(
        said("About {{ input.topic }}, {{ input.count }} times."),
        "About bees, 3 times."
    );
    assert_eq!(said("{% for tag in input.tags %}<{{ tag }}>{% endfor %}"), "<a><b>");
    assert_eq!(
        said("{{ input.tags }} {{ state.none }} {{ state.output }}"),
        r#"["a","b"] null {"answer":42}"#
    );
    assert_eq!(said("{% if input.count > 2 %}many{% else %}few{% endif %}"), "many");
    assert_eq!(
        said("{{ input.tags|join(' and ') }} {{ input.topic|upper }} {{ input.tags|tojson }}"),
        r#"a and b BEES ["a","b"]"#
    );
    assert_eq!(said("{{ input.missing|default('nothing') }}"), "nothing");
    assert_eq!(said("{# a remark with {{ braces }} #}x{{ '}}' }}"), "x}}");
}

#[test]
fn what_is_missing_is_an_error_and_never_an_empty_text() {
    for source in [
        "{{ input.nothing }}",
        "{{ nothing }}",
        "{{ nothing.at.all }}",
        "{% if input.nothing %}x{% endif %}",
        "{% for x in nothing %}{% endfor %}",
    ] {
        assert!(fault(source).contains("missing"), "{source}: {}", fault(source));
    }
}

#[test]
fn a_value_cannot_become_a_template() {
    assert_eq!(said("{{ input.trap }}"), "\"}} {{ secrets }}");
}

#[test]
fn what_could_build_or_load_something_is_refused() {
    for source in [
        "{% set a = 1 %}",
        "{% with a = 1 %}{% endwith %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% raw %}{% endraw %}",
        "{% filter upper %}{% endfilter %}",
        "{{ input.topic ~ input.topic }}",
        "{{ input.topic + input.topic }}",
        "{{ input.topic * 9 }}",
        "{{ input.big[0:9] }}",
        "{{ {'a': 1} }}",
        "{{ input.topic|pprint }}",
        "{{ input.topic",
        "{% if %}",
        "{{ 'open }}",
        "{# open",
    ] {
        assert!(
            check(source).is_err() || render(source, &bindings()).is_err(),
            "{source}"
        );
    }
}

#[test]
fn a_function_is_refused_before_anything_is_rendered_and_what_only_looks_like_one_is_not() {
    for source in [
        "{{ range(9) }}",
        "{% for i in range(9) %}{% endfor %}",
        "{{ input.topic.upper() }}",
        "{{ input.tags[0]() }}",
        "{{ 'a' if range (9) else 'b' }}",
    ] {
        let fault = check(source).expect_err(source).detail;
        assert!(fault.contains("There are no functions"), "{source}: {fault}");
    }
    for source in [
        "{% if (input.count > 2) and not (input.count < 1) %}x{% endif %}",
        "{{ input.tags|join(' (and) ') }}",
        "{{ input.tags | join ('range(9)') }}",
        "{% for tag in (input.tags) %}{% endfor %}",
        "{{ (input.topic)|upper }}",
        "{% if input.topic is not defined or (input.topic is string) %}x{% endif %}",
    ] {
        check(source).expect(source);
    }
}

#[test]
fn nothing_grows_without_bound() {
    assert!(fault(&"{{ input.big }}".repeat(4)).contains("longer than 1 MiB"));
    let many = "{{ [input.big|upper, input.big|upper, input.big|upper, input.big|upper, input.big|upper]|length }}";
    assert!(fault(&many.repeat(4)).contains("too much"));
    let nested = "{% for a in input.tags %}".repeat(20) + "x" + &"{% endfor %}".repeat(20);
    assert!(fault(&nested).contains("too much"));
    let quoted = format!("{{{{ input.trap{} }}}}", "|tojson".repeat(30));
    assert!(fault(&quoted).contains("too much"));
    let list = |times, filter: &str| format!("{{{{ [{}]{filter} }}}}", ["input.big"; 40].repeat(times).join(", "));
    let value = evaluate(&list(1, ""), &bindings()).expect_err("too large");
    assert!(value.detail.contains("larger than 4 MiB"));
    assert!(fault(&format!("all: {}", list(1, ""))).contains("longer than 1 MiB"));
    for filter in ["|tojson|length", "|string|length", "|join|length"] {
        assert!(
            fault(&format!("all: {}", list(1, filter))).contains("too much"),
            "{filter}"
        );
    }
    assert!(fault(&list(2, "|length")).contains("50 elements"));
    let bindings = bindings();
    let part = "{{ input.big }}{{ input.big }}";
    assert!(render_all([part, "x"], &bindings).is_ok());
    assert!(render_all([part, part], &bindings).is_err());
    assert!(check(&"{{ ".repeat(90_000)).is_err());
    assert!(check(&format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000))).is_err());
    assert!(check(&"{ ".repeat(100_000)).is_ok());
}

#[test]
fn one_expression_alone_keeps_the_kind_of_its_value() {
    let value = |source| evaluate(source, &bindings()).expect("has a value");
    assert_eq!(value(" {{ state.output }} "), json!({"answer": 42}));
    assert_eq!(value("{{ state.output.answer }}"), json!(42));
    assert_eq!(value("{{ state.none }}"), json!(null));
    assert_eq!(value("{{ state.output.answer }}{{ 1 }}"), json!("421"));
    assert_eq!(value("plain"), json!("plain"));
    assert_eq!(value("{{- state.output.answer -}}"), json!(42));
    assert_eq!(value("{{--1}}"), json!(-1));
    assert!(evaluate("{{ state.nothing }}", &bindings()).is_err());
}

#[test]
fn a_fault_names_its_line() {
    let fault = render("one\ntwo {{ input.nothing }}", &bindings()).expect_err("refused");
    assert_eq!(fault.line, Some(2));
    assert!(fault.to_string().starts_with("Line 2: "));
}

#[test]
fn what_is_missing_is_named() {
    for (source, which) in [
        ("{{ input.tonic }}", "`input.tonic`"),
        ("Say\n{{ input.topic }} and {{ state.a.b }}", "`state.a`"),
        ("{% for x in input.none %}{{ x }}{% endfor %}", "`input.none`"),
    ] {
        assert!(fault(source).contains(which), "{}", fault(source));
    }
}
