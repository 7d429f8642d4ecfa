//! What the process counts, in the text format of Prometheus. Every name is declared here; labels come from closed sets, never from a
//! workspace, a person, a path or an id.

use std::sync::LazyLock;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// From a cached look-up to the longest deadline, in seconds.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::new_custom(Some("guildhall".into()), None).expect("the prefix is a name");
    #[cfg(target_os = "linux")]
    {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process)).expect("registered once");
    }
    registry
});

/// Declares metrics: one static each, and the list of all that makes them visible from the start.
macro_rules! metrics {
    ($($(#[doc = $help:literal])* pub $name:ident: $kind:ident = $text:literal $([$($label:literal),*])?;)*) => {
        $(
            $(#[doc = $help])*
            pub static $name: LazyLock<metrics!(@type $kind)> = LazyLock::new(|| {
                let metric = metrics!(@make $kind, $text, concat!($($help),*), &[$($($label),*)?]);
                REGISTRY.register(Box::new(metric.clone())).expect("declared once");
                metric
            });
        )*

        /// The name of every metric of ours, without the prefix.
        pub const NAMES: &[&str] = &[$($text),*];

        fn declare() {
            $(LazyLock::force(&$name);)*
        }
    };
    (@type counter) => { IntCounter };
    (@type counters) => { IntCounterVec };
    (@type gauge) => { IntGauge };
    (@type gauges) => { IntGaugeVec };
    (@type seconds) => { HistogramVec };
    (@make counter, $text:literal, $help:expr, $labels:expr) => {
        IntCounter::new($text, $help.trim()).expect("a well-formed name")
    };
    (@make counters, $text:literal, $help:expr, $labels:expr) => {
        IntCounterVec::new(Opts::new($text, $help.trim()), $labels).expect("a well-formed name")
    };
    (@make gauge, $text:literal, $help:expr, $labels:expr) => {
        IntGauge::new($text, $help.trim()).expect("a well-formed name")
    };
    (@make gauges, $text:literal, $help:expr, $labels:expr) => {
        IntGaugeVec::new(Opts::new($text, $help.trim()), $labels).expect("a well-formed name")
    };
    (@make seconds, $text:literal, $help:expr, $labels:expr) => {
        HistogramVec::new(HistogramOpts::new($text, $help.trim()).buckets(SECONDS.to_vec()), $labels)
            .expect("a well-formed name")
    };
}

metrics! {
    /// Requests by operation, status class and, for refusals, problem code.
    pub HTTP_REQUESTS: counters = "http_requests_total" ["operation", "status", "code"];
    /// From the end of the head to the answer, in seconds.
    pub HTTP_SECONDS: seconds = "http_request_seconds" ["operation"];
    /// Bodies that arrived too slowly.
    pub HTTP_SLOW_BODIES: counter = "http_slow_bodies_total";
    /// Permits of the admission gate.
    pub GATE_PERMITS: gauges = "gate_permits" ["class"];
    /// Permits that are taken.
    pub GATE_IN_USE: gauges = "gate_in_use" ["class"];
    /// Requests that wait for a permit.
    pub GATE_LINE: gauges = "gate_line" ["class"];
    /// How long requests waited for a permit, in seconds.
    pub GATE_WAIT: seconds = "gate_wait_seconds" ["class"];
    /// Requests that were refused for lack of room: `line`, no place; `wait`, none became free in time; `share`, the workspace had its own.
    pub GATE_SHED: counters = "gate_shed_total" ["class", "reason"];
    /// Database connections by state.
    pub DB_CONNECTIONS: gauges = "db_connections" ["pool", "state"];
    /// Whether the pool's database answers.
    pub DB_UP: gauge = "db_up";
    /// Calls to what Guildhall depends on.
    pub DEPENDENCY_CALLS: counters = "dependency_calls_total" ["dependency", "use", "outcome"];
    /// How long such calls take, in seconds.
    pub DEPENDENCY_SECONDS: seconds = "dependency_seconds" ["dependency"];
    /// 1 while a dependency is left alone after failures.
    pub BREAKER_STATE: gauges = "breaker_state" ["dependency"];
    /// Rate limits that were judged in the process because Redis was not available.
    pub RATELIMIT_FALLBACK: counter = "ratelimit_fallback_total";
    /// Requests beyond a rate limit.
    pub RATE_LIMITED: counters = "rate_limited_total" ["bucket"];
    /// Refusals by problem code.
    pub REFUSALS: counters = "refusals_total" ["code"];
    /// Refusals that did not fit into memory, and are missing in the audit log.
    pub AUDIT_LOST: counter = "audit_lost_total";
    /// Jobs that are ready, by kind; counted once a minute.
    pub QUEUE_READY: gauges = "queue_ready" ["kind"];
    /// How long the first of them has waited, in seconds.
    pub QUEUE_OLDEST: gauges = "queue_oldest_seconds" ["kind"];
    /// Jobs by kind and how they ended.
    pub JOBS: counters = "jobs_total" ["kind", "outcome"];
    /// Jobs that were given up after too many lost leases.
    pub DEAD_LETTERS: counters = "dead_letters" ["kind"];
    /// Looks at lanes of the inbox that are repeated because somebody else had what they change.
    pub INBOX_PUT_OFF: counter = "inbox_put_off_total";
    /// What differed from Stripe when it was compared, by kind.
    pub RECONCILE_DRIFT: counters = "reconcile_drift_total" ["kind"];
    /// Commits that were rolled back because the lease was somebody else's by then.
    pub STEP_FENCED: counter = "step_fenced_total";
    /// Leases that ran out without being renewed.
    pub LEASE_EXPIRED: counter = "lease_expired_total";
    /// Counters that a recount found wrong, and mended.
    pub COUNTER_DRIFT: counters = "counter_drift" ["counter"];
    /// Plans that outlasted what they come from, and were caught.
    pub PLAN_DRIFT: counter = "plan_drift_total";
    /// Age of the oldest event that waits for the relay, in seconds.
    pub OUTBOX_OLDEST: gauge = "outbox_oldest_seconds";
    /// Events that a consumer could not take, by consumer.
    pub OUTBOX_DEAD: counters = "outbox_dead_total" ["consumer"];
    /// Rows in default partitions, by table: their own were not made ahead. Counted once a minute.
    pub STRAY_ROWS: gauges = "stray_rows" ["table"];
    /// Mails by template and how they ended.
    pub MAIL: counters = "mail_total" ["template", "outcome"];
    /// Webhook attempts by how they ended.
    pub WEBHOOK_ATTEMPTS: counters = "webhook_attempts_total" ["outcome"];
    /// From the event to its first attempt, and so on, in seconds.
    pub WEBHOOK_DELAY: seconds = "webhook_delay_seconds" ["attempt"];
    /// Webhook attempts that wait for an answer.
    pub WEBHOOK_IN_FLIGHT: gauge = "webhook_in_flight";
    /// Webhook targets that were refused.
    pub WEBHOOK_BLOCKED: counters = "webhook_blocked_total" ["reason"];
    /// Panics that were caught.
    pub PANICS: counters = "panics_total" ["where"];
    /// 1, labelled with what was built.
    pub BUILD_INFO: gauges = "build_info" ["version", "commit"];
}

/// Everything, as Prometheus reads it.
pub fn text() -> String {
    declare();
    BUILD_INFO
        .with_label_values(&[
            env!("CARGO_PKG_VERSION"),
            option_env!("GUILDHALL_COMMIT").unwrap_or("unknown"),
        ])
        .set(1);
    let mut text = Vec::new();
    let written = TextEncoder::new().encode(&REGISTRY.gather(), &mut text);
    written.expect("a vector takes everything");
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_prefix_and_a_help_line() {
        HTTP_REQUESTS.with_label_values(&["agents_create", "2xx", ""]).inc();
        HTTP_SLOW_BODIES.inc();
        let text = text();
        assert!(text.contains("guildhall_http_requests_total{code=\"\",operation=\"agents_create\",status=\"2xx\"} 1"));
        assert!(text.contains("# HELP guildhall_http_slow_bodies_total Bodies that arrived too slowly."));
        assert!(text.contains("guildhall_build_info{") && NAMES.contains(&"build_info"));
        #[cfg(target_os = "linux")]
        assert!(text.contains("guildhall_process_resident_memory_bytes"));
    }
}
