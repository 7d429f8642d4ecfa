//! What of a template can be judged before anybody renders it: a filter that does not exist, or is given too much or too little, fails each
//! run, whatever its input. Of what kind a value will be, and whether it is there, only a run can tell.

use std::collections::HashSet;

use minijinja::{Environment, Error, ErrorKind, Template, Value, value::Kwargs};

use super::{
    Fault,
    calls::{Called, Invocation},
    tags::{self, Tag},
};

/// What every run gives its templates.
const VALUES: [&str; 3] = ["input", "run", "state"];

/// Whether every filter, test and value is there, and has as many arguments as it takes; and that nothing is divided by a zero that is written.
///
/// # Errors
/// What is not so.
pub(super) fn judge(
    source: &str,
    tags: &[Tag<'_>],
    template: &Template<'_, '_>,
    environment: &Environment<'_>,
) -> Result<(), Fault> {
    let mut judged = HashSet::new();
    for tag in tags {
        for call in tag.calls() {
            if judged.contains(&call) {
                continue;
            }
            let what = match call.called {
                Called::Filter => "filter",
                Called::Test => "test",
            };
            let name = &call.name;
            let detail = match wrong_of(environment, &call) {
                None => {
                    judged.insert(call);
                    continue;
                }
                Some(ErrorKind::TooManyArguments) => format!("The {what} '{name}' takes no such arguments."),
                Some(ErrorKind::MissingArgument) => format!("The {what} '{name}' wants more arguments."),
                Some(_) => format!("There is no {what} '{name}'."),
            };
            return Err(tags::fault(source, tag.start, &detail));
        }
        if tag.divides_by_zero() {
            return Err(tags::fault(source, tag.start, "It divides by zero."));
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

/// Calls it with as many values of several kinds: whatever else it says of them, it does not say that they are too many, or too few, if they
/// are not.
fn wrong_of(environment: &Environment<'_>, call: &Invocation) -> Option<ErrorKind> {
    let samples = [Value::from("1"), Value::from(1), Value::from(vec![1])];
    // Every combination of the value and its first three arguments: no filter has more.
    let widest = call.unnamed.min(3);
    let combinations = (0..=widest).fold(1, |count, _| count * samples.len());
    let mut faults = (0..combinations).filter_map(|combination| {
        let kind = |place: usize| (0..place.min(3)).fold(combination, |rest, _| rest / samples.len()) % samples.len();
        let mut values: Vec<Value> = (0..=call.unnamed).map(|place| samples[kind(place)].clone()).collect();
        if !call.named.is_empty() {
            let named = call.named.iter().map(|name| (name.as_str(), samples[kind(0)].clone()));
            values.push(Kwargs::from_iter(named).into());
        }
        attempt(environment, call, &values).err()
    });
    let is_of_the_call = |error: &Error| {
        use ErrorKind::{MissingArgument, TooManyArguments, UnknownFilter, UnknownTest};
        matches!(
            error.kind(),
            UnknownFilter | UnknownTest | TooManyArguments | MissingArgument
        )
    };
    faults.find(is_of_the_call).map(|error| error.kind())
}

fn attempt(environment: &Environment<'_>, call: &Invocation, values: &[Value]) -> Result<(), Error> {
    let mut state = environment.empty_state();
    match call.called {
        Called::Filter => state.apply_filter(&call.name, values).map(drop),
        Called::Test => state.perform_test(&call.name, values).map(drop),
    }
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
    fn what_is_given_too_much_or_too_little_is_refused_before_anything_is_rendered() {
        for (source, fault) in [
            (
                "{{ input.a is string 'x' }}",
                "The test 'string' takes no such arguments.",
            ),
            (
                "{% if input.a is defined input.b %}x{% endif %}",
                "The test 'defined' takes no such arguments.",
            ),
            (
                "{{ input.a|upper('x') }}",
                "The filter 'upper' takes no such arguments.",
            ),
            (
                "{{ input.a|upper(x=1) }}",
                "The filter 'upper' takes no such arguments.",
            ),
            (
                "{{ input.a|replace('a') }}",
                "The filter 'replace' wants more arguments.",
            ),
            ("{{ input.a|replace }}", "The filter 'replace' wants more arguments."),
            (
                "{{ input.a|replace('a', 'b', 1) }}",
                "The filter 'replace' takes no such arguments.",
            ),
            (
                "{{ input.a|join(', ', input.b) }}",
                "The filter 'join' takes no such arguments.",
            ),
            (
                "{{ input.a|round(1, 2, 3) }}",
                "The filter 'round' takes no such arguments.",
            ),
            (
                "{{ input.a|length(input.b[0]) }}",
                "The filter 'length' takes no such arguments.",
            ),
            ("{{ input.a|int(nope=1) }}", "The filter 'int' takes no such arguments."),
            (
                "{{ input.a|default(input.b|truncate(1, 2)) }}",
                "The filter 'truncate' takes no such arguments.",
            ),
            (
                "{% if input.a is string('x') %}{% endif %}",
                "The test 'string' takes no such arguments.",
            ),
            ("{{ 1 / 0 }}", "It divides by zero."),
            ("{{ input.a // 0.0 }}", "It divides by zero."),
            ("{{ input.a / (0) }}", "It divides by zero."),
            ("{{ input.a / ( (0 ) ) }}", "It divides by zero."),
            ("{{ input.a / -0 }}", "It divides by zero."),
            ("{{ input.a / 0x0 }}", "It divides by zero."),
            ("{{ input.a / 0|int }}", "It divides by zero."),
            ("{{ input.a % 0_0 }}", "It divides by zero."),
            ("{% if input.a %0 %}{% endif %}", "It divides by zero."),
        ] {
            assert_eq!(check(source).expect_err(source).detail, fault, "{source}");
        }
    }

    #[test]
    fn what_is_given_as_much_as_it_takes_is_not() {
        for source in [
            "{{ input.a|replace('(', ',') }}{{ input.a|replace(input.b[0], (input.c)) }}",
            "{{ input.a|truncate }}{{ input.a|truncate(5) }}{{ input.a|truncate(input.n,) }}",
            "{{ input.a|join }}{{ input.a|join(', ')|upper|trim|lower }}",
            "{{ input.a|int }}{{ input.a|int(0) }}{{ input.a|int(default=0) }}{{ input.a|int(0, 16) }}{{ input.a|float(default=0) }}",
            "{{ input.a|default('x')|d }}{{ input.a|default('', true) }}{{ input.a|round(2)|round }}{{ input.a|tojson }}",
            "{{ input.a / 10 }}{{ input.a / 0.5 }}{{ input.a // input.zero0 }}{{ input.a % 07 }}{{ 1 / 0x10 }}{{ 1 / (0 - input.a) }}{{ 1 / (0 or input.a) }}{{ 1 / ((0) or input.a) }}{{ 1 / 0|default(5, true) }}{{ 1 / (0)|d(5, true) }}{{ 1 / (input.a) }}{{ 'a / 0' }}",
            "{% if input.a is defined and (input.b == 1) %}{% endif %}{{ input.a|default(input.b == 'x') }}",
        ] {
            check(source).expect(source);
        }
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
