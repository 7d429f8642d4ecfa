//! The words of licences.

crate::words! {
    /// What is stored of a licence's state; everything else is derived.
    #[schema(as = LicenseState)]
    pub enum State {
        /// Waits in a pool for somebody to claim it.
        Pooled "pooled",
        /// Live.
        Active "active",
        /// At least one hold is placed.
        Suspended "suspended",
        /// Ended for good.
        Revoked "revoked",
    }
}

crate::words! {
    /// How a licence stands at this moment.
    #[schema(as = LicenseStatus)]
    pub enum Status {
        /// Waits in a pool for somebody to claim it.
        Pooled "pooled",
        /// Ended for good.
        Revoked "revoked",
        /// Suspended, for the reasons in `holds`.
        Suspended "suspended",
        /// Its start is still to come.
        NotStarted "not_started",
        /// Past its expiry and its grace.
        Expired "expired",
        /// Past its expiry, and still within its grace.
        InGrace "in_grace",
        /// A check-in was missed.
        Overdue "overdue",
        /// It expires soon.
        Expiring "expiring",
        /// Nobody has used it for 90 days.
        Inactive "inactive",
        /// Live and in use.
        Active "active",
    }
}

crate::words! {
    /// How a licence came to be.
    pub enum Via {
        /// By hand.
        Manual "manual",
        /// By a program.
        Api "api",
        /// By a reseller.
        Reseller "reseller",
        /// By a redemption code.
        Redemption "redemption",
        /// By a payment.
        Payment "payment",
        /// Out of a pool.
        Pool "pool",
        /// From elsewhere.
        Import "import",
        /// As a trial.
        Trial "trial",
    }
}

crate::words! {
    /// Why a licence is suspended.
    pub enum HoldReason {
        /// By hand.
        Manual "manual",
        /// A payment is overdue.
        Payment "payment",
        /// There is nothing to pay with.
        PaymentMethod "payment_method",
        /// The payment is disputed.
        Dispute "dispute",
        /// The payment was refunded.
        Refund "refund",
        /// The key is shared too widely.
        Abuse "abuse",
        /// The key was found in public.
        Exposure "exposure",
        /// By the reseller.
        Reseller "reseller",
        /// The customer is banned.
        CustomerBanned "customer_banned",
    }
}

crate::words! {
    /// What is wrong with a licence, or `valid`. The order is the order of judgement: the first that holds is the verdict's code.
    pub enum Code {
        /// Nothing is wrong.
        Valid "valid",
        /// No licence has this key or id here.
        NotFound "not_found",
        /// The key was rotated away or revoked.
        KeyRevoked "key_revoked",
        /// The licence waits in a pool.
        Pooled "pooled",
        /// The licence was revoked.
        Revoked "revoked",
        /// The licence is suspended.
        Suspended "suspended",
        /// The customer is banned.
        CustomerBanned "customer_banned",
        /// The licence's start is still to come.
        NotStarted "not_started",
        /// A product has to be asked about.
        ProductScopeRequired "product_scope_required",
        /// The licence is for another product.
        ProductScopeMismatch "product_scope_mismatch",
        /// A policy has to be asked about.
        PolicyScopeRequired "policy_scope_required",
        /// The licence follows another policy.
        PolicyScopeMismatch "policy_scope_mismatch",
        /// Entitlements have to be asked about.
        EntitlementsScopeEmpty "entitlements_scope_empty",
        /// The licence does not entitle to all that was asked.
        EntitlementsMissing "entitlements_missing",
        /// A machine has to be asked about.
        MachineScopeRequired "machine_scope_required",
        /// That machine is not one of the licence's.
        MachineScopeMismatch "machine_scope_mismatch",
        /// The licence is bound to a machine, and none is activated.
        NoMachine "no_machine",
        /// No machine is activated.
        NoMachines "no_machines",
        /// The machine gave no sign of life in time.
        MachineDead "machine_dead",
        /// The machine has not given its first sign of life.
        HeartbeatNotStarted "heartbeat_not_started",
        /// A fingerprint has to be asked about.
        FingerprintScopeRequired "fingerprint_scope_required",
        /// The fingerprint is empty.
        FingerprintScopeEmpty "fingerprint_scope_empty",
        /// No machine of the licence has this fingerprint.
        FingerprintScopeMismatch "fingerprint_scope_mismatch",
        /// More machines than allowed.
        TooManyMachines "too_many_machines",
        /// More processor cores than allowed.
        TooManyCores "too_many_cores",
        /// More memory than allowed.
        TooMuchMemory "too_much_memory",
        /// More disk than allowed.
        TooMuchDisk "too_much_disk",
        /// The licence has expired.
        Expired "expired",
    }
}

crate::words! {
    /// What to know of a licence that is valid all the same.
    pub enum NoticeCode {
        /// It expires soon.
        Expiring "expiring",
        /// It has expired, and is in its grace.
        InGrace "in_grace",
        /// It has expired, and its policy lets it go on.
        Expired "expired",
        /// More is used than its limits say; its policy allows it, or a limit was lowered.
        OverLimit "over_limit",
        /// The key was rotated: this one ends.
        KeyRotated "key_rotated",
        /// It is a trial.
        Trial "trial",
    }
}

crate::words! {
    /// What can be done about it.
    pub enum Next {
        /// Activate this machine.
        ActivateMachine "activate_machine",
        /// Deactivate a machine that is not needed.
        DeactivateMachine "deactivate_machine",
        /// Renew the licence.
        Renew "renew",
        /// Pay.
        Pay "pay",
        /// Confirm the e-mail address.
        VerifyEmail "verify_email",
        /// Use another version of the software.
        UpdateVersion "update_version",
        /// Connect to the network.
        GoOnline "go_online",
        /// Write to the vendor.
        ContactVendor "contact_vendor",
        /// Try again later.
        Retry "retry",
        /// Nothing.
        None "none",
    }
}
