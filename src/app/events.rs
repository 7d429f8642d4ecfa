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
    use serde_json::Value;

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

    /// A field that is misspelt would hide nothing, and find nothing.
    #[test]
    fn what_narrows_an_event_or_is_kept_from_the_log_is_a_field_of_it() {
        /// What happens here changes nothing that somebody is called by.
        const NAMELESS: [&str; 4] = [
            "license.reinstated",
            "license.renewed",
            "license.suspended",
            "license_key.rotated",
        ];
        let mut about_people = 0;
        let mut nameless = 0;
        for event in catalogue() {
            let example = event.example();
            let fields = example.as_object().expect("its fields");
            for name in event.filterable.iter().chain(event.personal) {
                assert!(fields.contains_key(*name), "{}: {name}", event.name);
            }
            if !["Customer", "License", "Machine", "Member"].contains(&&*(event.schema)()) || event.says_all() {
                continue;
            }
            if NAMELESS.contains(&event.name) {
                nameless += 1;
                continue;
            }
            about_people += 1;
            assert!(!event.personal.is_empty(), "{} is about a person", event.name);
            // What its owner calls it by, and notes with it, may be about that person, too.
            for name in ["external_id", "metadata", "public_metadata"] {
                let told = fields.contains_key(name) && !event.personal.contains(&name);
                assert!(!told, "{}: {name} may be about a person", event.name);
            }
        }
        assert!(
            about_people >= 5 && nameless == NAMELESS.len(),
            "{about_people}, {nameless}"
        );
    }

    /// Words after which anything may be so.
    const SAY_NOTHING: [&str; 13] = [
        "changed",
        "created",
        "deleted",
        "issued",
        "joined",
        "moved",
        "paid",
        "published",
        "renewed",
        "rotated",
        "secret_rotated",
        "tested",
        "updated",
    ];
    /// Its data has no field for it.
    const UNTOLD: &str = "api_key.revoked";
    /// Where the data says in other words what the name says, and what it must say beside that: null, a value, or `*` for any but null.
    const SAY: [(&str, &str, &str); 28] = [
        ("dunning.started", "/state", "retrying"),
        ("dunning.started", "/closed_at", "null"),
        ("dunning.recovered", "/closed_at", "*"),
        ("dunning.lapsed", "/closed_at", "*"),
        ("invoice.paid", "/status", "paid"),
        ("invoice.paid", "/paid_at", "*"),
        ("license.issued", "/status", "active"),
        ("license.suspended", "/holds/0/reason", "*"),
        ("license.reinstated", "/status", "active"),
        ("license.reinstated", "/holds/0", "null"),
        ("machine.activated", "/state", "active"),
        ("machine.resurrected", "/state", "active"),
        ("order.held", "/held_because", "*"),
        ("order.held", "/fulfilled_at", "null"),
        ("run.completed", "/output", "*"),
        ("run.completed", "/finished_at", "*"),
        ("run.failed", "/error/code", "*"),
        ("run.failed", "/finished_at", "*"),
        ("run.cancelled", "/finished_at", "*"),
        ("run.waiting", "/wait_reason", "*"),
        ("subscription.ended", "/status", "canceled"),
        ("webhook_endpoint.enabled", "/enabled", "true"),
        ("webhook_endpoint.disabled", "/enabled", "false"),
        ("webhook_endpoint.disabled", "/disabled_reason", "*"),
        ("webhook_delivery.failing", "/next_attempt_at", "*"),
        ("webhook_delivery.exhausted", "/finished_at", "*"),
        ("webhook_delivery.recovered", "/state", "delivered"),
        ("webhook_delivery.retried", "/state", "pending"),
    ];

    /// The words that a field of the data may be.
    fn words<'a>(schema: &'a Value, field: &str) -> Vec<&'a str> {
        let own = &schema["properties"][field];
        let named = own["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        let words = named.map_or(own, |name| &schema["$defs"][name])["enum"].as_array();
        words.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn is_so(found: Option<&Value>, must: &str) -> bool {
        match (found, must) {
            (None | Some(Value::Null), must) => must == "null",
            (Some(_), "*") => true,
            (Some(Value::String(found)), must) => found == must,
            (Some(found), "true" | "false") => found.as_bool() == Some(must == "true"),
            (Some(_), _) => false,
        }
    }

    /// What receivers branch on, and what they are tested with: what has just come to be so is so.
    #[test]
    fn every_example_is_as_its_event_says() {
        let events = catalogue();
        for event in &events {
            let (_, happened) = event.name.split_once('.').expect("shaped");
            let (example, schema) = (event.example(), event.schema_json());
            let mut says = example[format!("{happened}_at")].is_string();
            for field in ["state", "status"] {
                let so = example[field] == happened;
                let may_be_so = words(&schema, field).contains(&happened);
                assert!(so || !may_be_so, "{}: {field} is {}", event.name, example[field]);
                says |= so;
            }
            let says_otherwise = SAY.iter().any(|(name, ..)| *name == event.name);
            let says_nothing = SAY_NOTHING.contains(&happened) || event.name == UNTOLD;
            assert!(says || says_otherwise || says_nothing, "{}: {example}", event.name);
        }
        for (name, pointer, must) in SAY {
            let event = events.iter().find(|event| event.name == name);
            let example = event.expect("of the catalogue").example();
            assert!(
                is_so(example.pointer(pointer), must),
                "{name}: {pointer} is not {must}: {example}"
            );
        }
    }

    /// A name that the data has not would be in no event.
    #[test]
    fn what_an_example_shows_is_of_the_data() {
        for event in catalogue() {
            let (schema, shown) = (event.schema_json(), (event.shows)());
            let parts = schema["allOf"].as_array().into_iter().flatten().chain([&schema]);
            let members: Vec<_> = parts.filter_map(|part| part["properties"].as_object()).collect();
            for name in shown.as_object().into_iter().flatten().map(|(name, _)| name) {
                let known = members.iter().any(|members| members.contains_key(name));
                assert!(known, "{}: {name}", event.name);
            }
        }
    }
}
