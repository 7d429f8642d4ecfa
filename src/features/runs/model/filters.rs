//! What lists of runs can be narrowed by.

use super::{RunKind, Status};
use crate::{
    features::agents::AgentId,
    kernel::page::{Filters, Unfit, id_filter},
};

/// What a list of runs can be filtered by.
#[derive(Clone, Debug, Default)]
pub struct RunFilters {
    pub kinds: Vec<RunKind>,
    pub statuses: Vec<Status>,
    pub agents: Vec<AgentId>,
    pub subjects: Vec<String>,
    pub tags: Vec<String>,
}

impl Filters for RunFilters {
    const RESOURCE: &'static str = "runs";
    const NAMES: &'static [&'static str] = &["kind", "status", "agent_id", "subject", "tag"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "kind" => self
                .kinds
                .push(RunKind::named(value).ok_or_else(|| Unfit::choice(RunKind::WORDS))?),
            "status" => self
                .statuses
                .push(Status::named(value).ok_or_else(|| Unfit::choice(Status::WORDS))?),
            "agent_id" => self.agents.push(id_filter(value)),
            "subject" => self.subjects.push(value.to_owned()),
            _ => self.tags.push(value.to_owned()),
        }
        Ok(())
    }
}

/// What the lists of executions can be filtered by, the one of an agent and the one of all agents.
macro_rules! execution_filters {
    ($($(#[$doc:meta])* $name:ident of $resource:literal by $names:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name(pub RunFilters);

        impl Filters for $name {
            const RESOURCE: &'static str = $resource;
            const NAMES: &'static [&'static str] = $names;
            const CHANGES: bool = true;
            const TAGGED: bool = true;

            fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
                self.0.add(name, value)
            }
        }
    )*};
}

execution_filters! {
    /// What the list of executions can be filtered by.
    ExecutionFilters of "executions" by &["status", "agent_id", "subject", "tag"];
    /// What the list of an agent's executions can be filtered by.
    AgentExecutionFilters of "agent_executions" by &["status", "subject", "tag"];
}
