//! How a transaction begins.

use std::time::Duration;

use crate::kernel::{
    access::{Call, Class, Scope},
    clock::Clock,
};

/// The one message that opens a transaction: `BEGIN` and the whole context, formatted from typed values only.
pub(super) fn opening(call: &Call, scope: Option<&Scope>, clock: &Clock) -> String {
    let statement = call.time_left().min(match call.class {
        Class::Credential => Duration::from_millis(500),
        Class::Account | Class::Password | Class::Ingress | Class::Interactive | Class::Cpu => {
            Duration::from_millis(1_500)
        }
        Class::Long => Duration::from_secs(25),
        Class::Job => Duration::from_secs(30),
    });
    let mode = if call.read_only { "BEGIN READ ONLY" } else { "BEGIN" };
    let statement = statement.as_millis().max(1);
    let mut sql = format!(
        "{mode}; SELECT set_config('statement_timeout', '{statement}', true), set_config('lock_timeout', '1000', true)"
    );
    if let Some(scope) = scope {
        let (workspace, actor, reach) = (in_force(scope), scope.actor(), scope.reach());
        let one_of = |id: Option<uuid::Uuid>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        sql += &format!(
            ", set_config('app.workspace', '{workspace}', true), set_config('app.actor', '{}:{}', true), \
             set_config('app.reseller', '{}', true), set_config('app.customer', '{}', true)",
            actor.kind(),
            actor.uuid().map(|id| id.to_string()).unwrap_or_default(),
            one_of(reach.reseller.map(|id| id.uuid())),
            one_of(reach.customer.map(|id| id.uuid())),
        );
    }
    let offset = clock.offset().num_milliseconds();
    if offset != 0 {
        sql += &format!(", set_config('app.clock_offset', '{offset} milliseconds', true)");
    }
    sql
}

/// The workspace that a transaction is in: its scope's.
pub(super) fn in_force(scope: &Scope) -> uuid::Uuid {
    let own = scope.workspace().uuid();
    if crate::leak!("first-scope-stays") {
        static FIRST: std::sync::OnceLock<uuid::Uuid> = std::sync::OnceLock::new();
        return *FIRST.get_or_init(|| own);
    }
    own
}
