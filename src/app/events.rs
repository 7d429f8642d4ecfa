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
}
