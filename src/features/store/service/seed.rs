//! The plans that a deployment begins with, as what they are: a product, policies with entitlements, and offers, in `platform`. They are the
//! operator's from then on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    features::{
        entitlements::{self, Kind, NewEntitlement, ValueType},
        policies::{self, NewPolicy, Unit},
        products::{self, NewProduct},
        store::{
            model::{NewOffer, OfferId, OfferKind, OnCancel, QuantityAs},
            queries,
        },
    },
    kernel::{
        db::Tenant,
        entitlements::Allowance,
        error::Result,
        plans::{SEEDS, SeedPlan},
    },
};

/// All plans are of one line: a workspace has one subscription for them.
const LINE: &str = "plan";

/// Makes what is missing, once: where there are plans already, nothing is touched. Answers the lookup keys of all prices that belong to
/// plans.
pub(in crate::features::store) fn seed(tx: &mut Tenant<'_>) -> Result<Vec<String>> {
    if queries::base_offers(tx.conn())?.is_empty() {
        let product = products::create(
            tx,
            &NewProduct {
                code: "guildhall".into(),
                name: "Guildhall".into(),
                ..NewProduct::default()
            },
        )?;
        for (code, allowance) in SEEDS[0].entitlements {
            entitlements::create(tx, &definition(code, *allowance))?;
        }
        for plan in &SEEDS {
            let policy = policies::create(tx, &policy(plan, product.id))?;
            let id = OfferId::new(tx.now()?);
            queries::insert_offer(tx.conn(), &offer(id, plan, policy.id.uuid()))?;
        }
    }
    let offers = queries::base_offers(tx.conn())?;
    Ok(offers.into_iter().flat_map(|offer| offer.lookup_keys).collect())
}

fn definition(code: &str, allowance: Allowance) -> NewEntitlement {
    let name = code.replace(['_', '.'], " ");
    let (kind, value_type) = match allowance {
        Allowance::Flag(_) => (Kind::Boolean, ValueType::Boolean),
        Allowance::AtMost(_) | Allowance::Unlimited => (Kind::Static, ValueType::Integer),
    };
    NewEntitlement {
        code: code.to_owned(),
        name,
        kind,
        value_type,
        ..NewEntitlement::default()
    }
}

/// A licence of a plan lasts a month unless it is paid for longer, and one workspace is its only machine. Only the operator's own server
/// activates.
fn policy(plan: &SeedPlan, product: products::ProductId) -> NewPolicy {
    let entitlements: BTreeMap<String, Value> = plan
        .entitlements
        .iter()
        .map(|(code, allowance)| ((*code).to_owned(), json!(allowance)))
        .collect();
    NewPolicy {
        product_id: product,
        code: plan.code.to_owned(),
        name: plan.name.to_owned(),
        rank: plan.rank,
        term_count: Some(1),
        term_unit: Some(Unit::Month),
        max_machines: Some(1),
        protected: true,
        entitlements,
        ..NewPolicy::default()
    }
}

fn offer(id: OfferId, plan: &SeedPlan, policy: uuid::Uuid) -> NewOffer<'_> {
    NewOffer {
        id,
        code: plan.code,
        name: plan.name,
        policy_id: policy,
        kind: OfferKind::Base,
        line: LINE,
        rank: plan.rank,
        public: plan.public,
        trial_days: 0,
        seats: plan.seats,
        features: json!(plan.features),
        lookup_keys: plan.prices.iter().map(|price| price.lookup_key.to_owned()).collect(),
        quantity_as: if plan.seats == "per_seat" {
            QuantityAs::MaxUsers
        } else {
            QuantityAs::Licenses
        },
        // Stripe itself keeps a subscription alive until the period ends, where that is wanted: when it says canceled, it is over.
        on_cancel: OnCancel::Now,
    }
}
