//! What callers send about policies.

pub use super::rules::NewPolicy;

use super::Policy;
use crate::{
    features::products::ProductId,
    kernel::{
        check::{Check, Validate},
        error::FieldCode,
        page::{Filters, Unfit, id_filter},
        patch::{Patch, Patchable},
    },
};

impl Validate for NewPolicy {
    fn validate(&self, check: &mut Check) {
        if self.product_id == ProductId::nil() {
            check.refuse("/product_id", FieldCode::Required, "This field is required.");
        }
        check.slug("/code", &self.code, 1..=63);
        check.line("/name", &self.name, 1..=100);
        check.number("/rank", i64::from(self.rank), 0..=1_000_000);
        self.rules().judge(check);
        check.count("/entitlements", self.entitlements.len(), 200);
        check.metadata(&self.metadata);
    }
}

impl Patchable for NewPolicy {
    const FIXED: &'static [&'static str] = &["product_id"];
    const WHOLE: &'static [&'static str] = &["entitlements"];
}

/// What may change of a policy.
pub type PolicyPatch = Patch<NewPolicy>;

impl From<&Policy> for NewPolicy {
    fn from(policy: &Policy) -> NewPolicy {
        NewPolicy {
            product_id: policy.product_id,
            code: policy.code.clone(),
            name: policy.name.clone(),
            rank: policy.rank,
            entitlements: policy.entitlements.clone(),
            metadata: policy.metadata.clone(),
            ..NewPolicy::default()
        }
        .with(policy.rules.clone())
    }
}

/// Filters of the list of policies.
#[derive(Default)]
pub struct PolicyFilters {
    pub products: Vec<ProductId>,
    pub codes: Vec<String>,
}

impl Filters for PolicyFilters {
    const RESOURCE: &'static str = "policies";
    const NAMES: &'static [&'static str] = &["product_id", "code"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, name: &str, value: &str) -> Result<(), Unfit> {
        match name {
            "product_id" => self.products.push(id_filter(value)),
            _ => self.codes.push(value.to_owned()),
        }
        Ok(())
    }
}

crate::words! {
    /// Which licences a change of a policy reaches.
    pub enum Apply {
        /// Those that there are, too.
        Existing "existing",
        /// Only those to come.
        New "new",
    }
}
