//! The catalogue of events.

use crate::{
    features::{agents, customers, entitlements, licenses, policies, products, runs, store, webhooks},
    kernel::{api_keys, outbox::EventInfo, plans, workspaces},
};

/// Every type of event that is ever emitted, by name.
pub fn catalogue() -> Vec<&'static EventInfo> {
    let lists = [
        workspaces::EVENTS,
        api_keys::EVENTS,
        plans::EVENTS,
        products::EVENTS,
        entitlements::EVENTS,
        policies::EVENTS,
        customers::EVENTS,
        licenses::EVENTS,
        licenses::MACHINE_EVENTS,
        webhooks::EVENTS,
        agents::EVENTS,
        runs::EVENTS,
        store::EVENTS,
    ];
    let mut events: Vec<_> = lists.into_iter().flatten().copied().collect();
    events.sort_by_key(|event| event.name);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_named_once_in_the_past_tense_form_and_described() {
        let events = catalogue();
        assert!(events.windows(2).all(|pair| pair[0].name != pair[1].name));
        for event in events {
            let word = |text: &str| {
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            let shaped = event
                .name
                .split_once('.')
                .is_some_and(|(resource, happened)| word(resource) && word(happened));
            assert!(shaped && !event.description().is_empty(), "{}", event.name);
        }
    }

    /// What receivers are given to build on: a schema that stands alone, and an example that says something.
    #[test]
    fn every_example_is_one_of_the_schema_that_is_served() {
        for event in catalogue() {
            let schema = event.schema_json();
            let judge = jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&schema)
                .unwrap_or_else(|error| panic!("{}: {error}", event.name));
            let example = event.example();
            let faults: Vec<_> = judge.iter_errors(&example).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{}: {faults:?}\n{example}", event.name);
            assert!(
                example.as_object().is_some_and(|members| members.len() > 1),
                "{}: {example}",
                event.name
            );
        }
    }
}
