//! The plans that a deployment begins with. They become offers, policies and entitlements in `platform`, which the operator may change;
//! nothing here is read again once they are there.

use crate::kernel::entitlements::Allowance::{self, AtMost, Flag, Unlimited};

/// A plan to begin with.
pub struct SeedPlan {
    /// The plan's own word.
    pub code: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Orders plans.
    pub rank: i32,
    /// Whether it stands on the price page.
    pub public: bool,
    /// `included`, `per_seat` or `none`.
    pub seats: &'static str,
    /// Sentences for a price page.
    pub features: &'static [&'static str],
    /// What it costs.
    pub prices: &'static [SeedPrice],
    /// What it allows.
    pub entitlements: &'static [(&'static str, Allowance)],
}

/// What a plan costs at first.
pub struct SeedPrice {
    /// The price's lookup key at Stripe: a price that carries it belongs to the plan.
    pub lookup_key: &'static str,
    /// Minor units.
    pub amount: i64,
    /// `month` or `year`.
    pub interval: &'static str,
}

const fn monthly(lookup_key: &'static str, amount: i64) -> SeedPrice {
    SeedPrice {
        lookup_key,
        amount,
        interval: "month",
    }
}

const fn yearly(lookup_key: &'static str, amount: i64) -> SeedPrice {
    SeedPrice {
        lookup_key,
        amount,
        interval: "year",
    }
}

/// All of them, the smallest first: the first one is what a workspace falls back to.
pub const SEEDS: [SeedPlan; 4] = [
    SeedPlan {
        code: "free",
        name: "Free",
        rank: 0,
        public: true,
        seats: "included",
        features: &["1,000 runs a month", "5 agents", "100 licences", "3 seats"],
        prices: &[],
        entitlements: &[
            ("seats", AtMost(3)),
            ("runs_per_month", AtMost(1_000)),
            ("concurrent_steps", AtMost(2)),
            ("queued_steps", AtMost(1_000)),
            ("scheduler_weight", AtMost(1)),
            ("concurrent_deliveries", AtMost(2)),
            ("model_spend_micros_per_month", AtMost(20_000_000)),
            ("agents", AtMost(5)),
            ("schedules", AtMost(2)),
            ("experiments_running", AtMost(1)),
            ("licenses", AtMost(100)),
            ("machines", AtMost(300)),
            ("meter_events_per_month", AtMost(100_000)),
            ("resellers", AtMost(0)),
            ("api_keys", AtMost(20)),
            ("webhooks.endpoints", AtMost(3)),
            ("event_days", AtMost(7)),
            ("audit_days", AtMost(90)),
            ("rate.credential", AtMost(120)),
            ("rate.user", AtMost(120)),
            ("rate.workspace", AtMost(300)),
            ("rate.execute", AtMost(10)),
            ("portal_domain", Flag(false)),
            ("reseller_branding", Flag(false)),
            ("priority_support", Flag(false)),
        ],
    },
    SeedPlan {
        code: "pro",
        name: "Pro",
        rank: 10,
        public: true,
        seats: "included",
        features: &[
            "50,000 runs a month",
            "100 agents",
            "10,000 licences",
            "10 seats",
            "5 resellers",
            "A portal of your own",
        ],
        prices: &[
            monthly("guildhall_pro_month", 2_900),
            yearly("guildhall_pro_year", 29_000),
        ],
        entitlements: &[
            ("seats", AtMost(10)),
            ("runs_per_month", AtMost(50_000)),
            ("concurrent_steps", AtMost(20)),
            ("queued_steps", AtMost(10_000)),
            ("scheduler_weight", AtMost(2)),
            ("concurrent_deliveries", AtMost(8)),
            ("model_spend_micros_per_month", Unlimited),
            ("agents", AtMost(100)),
            ("schedules", AtMost(50)),
            ("experiments_running", AtMost(10)),
            ("licenses", AtMost(10_000)),
            ("machines", AtMost(50_000)),
            ("meter_events_per_month", AtMost(5_000_000)),
            ("resellers", AtMost(5)),
            ("api_keys", AtMost(100)),
            ("webhooks.endpoints", AtMost(20)),
            ("event_days", AtMost(30)),
            ("audit_days", AtMost(365)),
            ("rate.credential", AtMost(600)),
            ("rate.user", AtMost(600)),
            ("rate.workspace", AtMost(1_200)),
            ("rate.execute", AtMost(60)),
            ("portal_domain", Flag(true)),
            ("reseller_branding", Flag(false)),
            ("priority_support", Flag(false)),
        ],
    },
    SeedPlan {
        code: "business",
        name: "Business",
        rank: 20,
        public: true,
        seats: "per_seat",
        features: &[
            "500,000 runs a month",
            "Unlimited agents",
            "200,000 licences",
            "10 seats, more at 9 each",
            "50 resellers",
        ],
        prices: &[
            monthly("guildhall_business_month", 9_900),
            yearly("guildhall_business_year", 99_000),
        ],
        entitlements: &[
            ("seats", AtMost(10)),
            ("runs_per_month", AtMost(500_000)),
            ("concurrent_steps", AtMost(100)),
            ("queued_steps", AtMost(100_000)),
            ("scheduler_weight", AtMost(4)),
            ("concurrent_deliveries", AtMost(32)),
            ("model_spend_micros_per_month", Unlimited),
            ("agents", Unlimited),
            ("schedules", Unlimited),
            ("experiments_running", Unlimited),
            ("licenses", AtMost(200_000)),
            ("machines", AtMost(1_000_000)),
            ("meter_events_per_month", AtMost(50_000_000)),
            ("resellers", AtMost(50)),
            ("api_keys", AtMost(500)),
            ("webhooks.endpoints", AtMost(100)),
            ("event_days", AtMost(90)),
            ("audit_days", AtMost(2_555)),
            ("rate.credential", AtMost(3_000)),
            ("rate.user", AtMost(1_200)),
            ("rate.workspace", AtMost(6_000)),
            ("rate.execute", AtMost(300)),
            ("portal_domain", Flag(true)),
            ("reseller_branding", Flag(true)),
            ("priority_support", Flag(false)),
        ],
    },
    SeedPlan {
        code: "enterprise",
        name: "Enterprise",
        rank: 30,
        public: true,
        seats: "none",
        features: &["By agreement", "Priority support"],
        prices: &[],
        entitlements: &[
            ("seats", Unlimited),
            ("runs_per_month", Unlimited),
            ("concurrent_steps", AtMost(1_000)),
            ("queued_steps", AtMost(1_000_000)),
            ("scheduler_weight", AtMost(8)),
            ("concurrent_deliveries", AtMost(64)),
            ("model_spend_micros_per_month", Unlimited),
            ("agents", Unlimited),
            ("schedules", Unlimited),
            ("experiments_running", Unlimited),
            ("licenses", Unlimited),
            ("machines", Unlimited),
            ("meter_events_per_month", Unlimited),
            ("resellers", Unlimited),
            ("api_keys", AtMost(5_000)),
            ("webhooks.endpoints", Unlimited),
            ("event_days", AtMost(365)),
            ("audit_days", AtMost(2_555)),
            ("rate.credential", AtMost(15_000)),
            ("rate.user", AtMost(3_000)),
            ("rate.workspace", AtMost(30_000)),
            ("rate.execute", AtMost(3_000)),
            ("portal_domain", Flag(true)),
            ("reseller_branding", Flag(true)),
            ("priority_support", Flag(true)),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_says_something_about_everything() {
        let codes = |plan: &SeedPlan| plan.entitlements.iter().map(|(code, _)| *code).collect::<Vec<_>>();
        for plan in &SEEDS {
            assert_eq!(codes(plan), codes(&SEEDS[0]), "{}", plan.code);
        }
        assert!(SEEDS.windows(2).all(|pair| pair[0].rank < pair[1].rank));
    }
}
