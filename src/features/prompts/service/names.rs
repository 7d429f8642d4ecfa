//! The names in a template, looked up before anybody renders it: a filter that does not exist fails each run, whatever its input.

use minijinja::{Environment, ErrorKind, Template};

use super::{
    Fault,
    tags::{self, Called, Tag},
};

/// What every run gives its templates.
const VALUES: [&str; 3] = ["input", "run", "state"];

/// Whether every filter, test and value is there.
///
/// # Errors
/// What is not.
pub(super) fn judge(
    source: &str,
    tags: &[Tag<'_>],
    template: &Template<'_, '_>,
    environment: &Environment<'_>,
) -> Result<(), Fault> {
    for tag in tags {
        for (called, name) in tag.calls() {
            if !exists(environment, called, &name) {
                let what = match called {
                    Called::Filter => "filter",
                    Called::Test => "test",
                };
                return Err(tags::fault(source, tag.start, &format!("There is no {what} '{name}'.")));
            }
        }
    }
    let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !VALUES.contains(&name.as_str()));
    match unknown.iter().min().map(String::as_str) {
        None => Ok(()),
        Some("loop") => Err(Fault::new("There is no 'loop' outside of a loop.")),
        Some(name) => Err(Fault::new(format!(
            "There is no '{name}': a template reads {}, and what a loop names.",
            VALUES.join(", ")
        ))),
    }
}

/// Calls it with nothing at all: what exists says what it misses.
fn exists(environment: &Environment<'_>, called: Called, name: &str) -> bool {
    let mut state = environment.empty_state();
    let missed = match called {
        Called::Filter => state.apply_filter(name, &[]).err(),
        Called::Test => state.perform_test(name, &[]).err(),
    };
    !missed.is_some_and(|error| matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest))
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn what_does_not_exist_is_refused_before_anything_is_rendered() {
        for (source, missing) in [
            ("{{ input.a|nope }}", "filter 'nope'"),
            ("{{ input|map('upper') }}", "filter 'map'"),
            ("{{ input.a | upper|first.name }}", "filter 'first.name'"),
            ("{{ input.a|default(input.b|nope) }}", "filter 'nope'"),
            ("{% for x in input.a|nope %}{% endfor %}", "filter 'nope'"),
            ("{% if input.x is nopetest %}{% endif %}", "test 'nopetest'"),
            ("{% if input.x is not nopetest %}{% endif %}", "test 'nopetest'"),
            ("{{ 'a' if input.x is upper else 'b' }}", "test 'upper'"),
            ("{{ loop.index }}", "'loop'"),
            ("{% for x in input.a %}{% endfor %}{{ loop.index }}", "'loop'"),
            ("{% for x in input.a %}{% else %}{{ loop.index }}{% endfor %}", "'loop'"),
            ("{{ topic }}", "'topic'"),
            ("{% for x in input.a %}{% endfor %}{{ x }}", "'x'"),
            ("{% if input.a %}{{ inptu.a }}{% endif %}", "'inptu'"),
        ] {
            let fault = check(source).expect_err(source).detail;
            assert!(
                fault.starts_with(&format!("There is no {missing}")),
                "{source}: {fault}"
            );
        }
        assert_eq!(check("one\n{{ input.a|nope }}").expect_err("refused").line, Some(2));
    }

    #[test]
    fn what_exists_or_only_looks_like_a_name_is_not() {
        for source in [
            "{{ input.a|upper|default('is nope | nope') }} is nope|nope",
            "{% for row in input.rows %}{{ loop.index }}: {{ row.is }} {{ row.a is defined }}{% endfor %}",
            "{% for a in input.rows %}{% for b in a %}{{ loop.first }}{% endfor %}{{ loop.index }}{% endfor %}",
            "{% if input.this is not none and (input.is is string or not input.list is sequence) %}x{% endif %}",
            "{{ run.id }} {{ state.output|tojson }} {{ input.island }} {{ input.basis }}",
            "{{ input.a|d('x')|round|int|float|abs|string|trim|lower|length }}",
            "{% for key in input.map if key is string %}{{ key }}{% endfor %}{# {{ x|nope }} #}",
        ] {
            check(source).expect(source);
        }
    }
}
