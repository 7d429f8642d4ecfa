//! Which models there are.

mod instance;
pub(super) mod sandbox;

use super::model::Price;

/// The providers that this deployment has.
#[derive(Clone, Copy, Debug)]
pub struct Providers {
    /// Whether the provider that answers without a model may be used. Production refuses to boot with it.
    pub sandbox: bool,
}

/// A model that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Who offers it.
    pub provider: &'static str,
    /// Its id there, resolved: never an alias.
    pub id: String,
    /// The longest answer, in tokens.
    pub max_output_tokens: u32,
    /// What it costs; `None` if nobody said.
    pub price: Option<Price>,
}

impl Providers {
    /// The model of that name.
    pub fn find(&self, name: &str) -> Option<Model> {
        let id = name
            .strip_prefix("sandbox/")
            .or((name == "sandbox").then_some("echo"))?;
        (self.sandbox && id == "echo").then(|| Model {
            provider: "sandbox",
            id: format!("sandbox/{id}"),
            max_output_tokens: 32_768,
            price: Some(sandbox::PRICE),
        })
    }

    /// The names that can be asked for, for a message.
    pub fn names(&self) -> &'static str {
        if self.sandbox { "sandbox" } else { "none yet" }
    }
}
