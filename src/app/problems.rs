//! The catalogue of refusals, and a page for each.

use crate::{
    features::{agents, licenses, machines, policies, runs, webhooks},
    kernel::{
        access, api_keys,
        error::{self, Kind},
        identity, jobs, stripe, workspaces,
    },
};

/// Every refusal that the API can answer with, by code.
pub fn catalogue() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = [
        error::PROBLEMS,
        access::PROBLEMS,
        workspaces::PROBLEMS,
        api_keys::PROBLEMS,
        identity::PROBLEMS,
        stripe::PROBLEMS,
        jobs::PROBLEMS,
        policies::PROBLEMS,
        licenses::PROBLEMS,
        machines::PROBLEMS,
        webhooks::PROBLEMS,
        agents::PROBLEMS,
        runs::PROBLEMS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect();
    kinds.sort_by_key(|kind| kind.code);
    kinds
}

/// The refusal of that code.
pub fn find(code: &str) -> Option<Kind> {
    catalogue().into_iter().find(|kind| kind.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_it_means_what_leads_to_it_and_what_to_do() {
        for kind in catalogue() {
            for part in [kind.title.to_owned(), kind.meaning(), kind.cause(), kind.fix()] {
                assert!(part.len() > 5, "{}: something is not said", kind.code);
                assert!(!part.starts_with(char::is_lowercase), "{}: {part}", kind.code);
                assert!(
                    !part.contains("Cause:") && !part.contains("Fix:"),
                    "{}: {part}",
                    kind.code
                );
                assert_eq!(part.matches('`').count() % 2, 0, "{}: {part}", kind.code);
            }
            assert!(
                kind.code
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                kind.code
            );
        }
    }

    #[test]
    fn no_two_refusals_share_a_code() {
        let catalogue = catalogue();
        let twin = catalogue.windows(2).find(|pair| pair[0].code == pair[1].code);
        assert!(twin.is_none(), "{}", twin.map_or("", |pair| pair[0].code));
    }
}
