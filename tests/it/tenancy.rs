//! What the first migrations promise to every table: versions, time, partitions, and definer functions that change what they should.

use guildhall::kernel::{
    clock::Clock,
    db::{Db, Sizes},
    upkeep,
};

use crate::database::{Database, PLATFORM, enter, number, refused, run, text};

#[test]
fn a_version_rises_with_what_its_etag_promises_and_not_with_bookkeeping() {
    let database = Database::migrated();
    let mut conn = database.tenant();
    enter(&mut conn, PLATFORM);
    let state = "SELECT version || ' ' || (updated_at > created_at) FROM workspaces";
    assert_eq!(text(&mut conn, state).as_deref(), Some("1 false"));
    run(&mut conn, "UPDATE workspaces SET seats_used = seats_used + 1");
    assert_eq!(
        text(&mut conn, state).as_deref(),
        Some("1 false"),
        "a counter is in no ETag's promise"
    );
    run(&mut conn, "UPDATE workspaces SET name = name");
    assert_eq!(text(&mut conn, state).as_deref(), Some("1 false"), "nothing changed");
    run(&mut conn, "UPDATE workspaces SET version = 9");
    assert_eq!(
        text(&mut conn, state).as_deref(),
        Some("1 false"),
        "nobody sets a version by hand"
    );
    run(
        &mut conn,
        "SELECT set_config('app.clock_offset', '1 hour', true); UPDATE workspaces SET name = 'Other'",
    );
    assert_eq!(text(&mut conn, state).as_deref(), Some("2 true"));
}

#[test]
fn a_keys_last_use_does_not_change_its_version() {
    let database = Database::migrated();
    let mut conn = database.tenant();
    enter(&mut conn, PLATFORM);
    run(
        &mut conn,
        "INSERT INTO service_accounts (id, name, role) VALUES ('00000000-0000-7000-8000-0000000000aa', 'CI', 'member');
         INSERT INTO api_keys (id, owner_type, owner_id, name, hash, start, api_version, expires_at)
         VALUES ('00000000-0000-7000-8000-0000000000ab', 'service_account', '00000000-0000-7000-8000-0000000000aa', 'CI', '\\x01', 'gld', '2026-11-01', app_now());
         UPDATE api_keys SET last_used_at = app_now(), last_used_ip = '192.0.2.1'",
    );
    assert_eq!(number(&mut conn, "SELECT version FROM api_keys"), 1);
    run(&mut conn, "UPDATE api_keys SET name = 'Continuous'");
    assert_eq!(number(&mut conn, "SELECT version FROM api_keys"), 2);
    assert!(refused(&mut conn, "SELECT hash FROM api_keys").contains("permission denied"));
}

#[test]
fn time_is_the_transactions_in_milliseconds_and_an_offset_shifts_it() {
    let database = Database::migrated();
    let mut conn = database.tenant();
    run(&mut conn, "BEGIN");
    assert_eq!(
        text(
            &mut conn,
            "app_now() = date_trunc('milliseconds', transaction_timestamp())"
        )
        .as_deref(),
        Some("true")
    );
    run(&mut conn, "SELECT set_config('app.clock_offset', '90 days', true)");
    let shifted = "app_now() = date_trunc('milliseconds', transaction_timestamp() + interval '90 days')";
    assert_eq!(text(&mut conn, shifted).as_deref(), Some("true"));
    run(&mut conn, "COMMIT");
    let back = "app_now() = date_trunc('milliseconds', transaction_timestamp())";
    assert_eq!(
        text(&mut conn, back).as_deref(),
        Some("true"),
        "an offset ends with its transaction"
    );
}

#[test]
fn an_author_is_filled_in_from_the_context() {
    let database = Database::migrated();
    let mut conn = database.tenant();
    enter(&mut conn, PLATFORM);
    run(
        &mut conn,
        "SELECT set_config('app.actor', 'user:00000000-0000-7000-8000-0000000000cc', true);
         INSERT INTO roles (id, key, name) VALUES (gen_random_uuid(), 'scribe', 'Scribe')",
    );
    let author = "SELECT created_by_type || ':' || created_by_id FROM roles";
    assert_eq!(
        text(&mut conn, author).as_deref(),
        Some("user:00000000-0000-7000-8000-0000000000cc")
    );
}

/// An event of an instant: its id is the smallest of that instant.
fn event_at(instant: &str) -> String {
    format!(
        "INSERT INTO outbox (id, type, api_version, data) VALUES (uuid_at({instant}), 'test.happened', '2026-11-01', '{{}}')"
    )
}

#[test]
fn partitions_are_made_ahead_take_what_the_default_caught_and_are_dropped_with_age() {
    let database = Database::migrated();
    let (mut tenant, mut kernel, mut admin) = (database.tenant(), database.kernel(), database.admin());
    enter(&mut tenant, PLATFORM);
    run(&mut tenant, &event_at("app_now()"));
    run(&mut tenant, &event_at("timestamptz '2001-01-01'"));
    run(&mut tenant, "COMMIT");
    let whereabouts = "SELECT string_agg(tableoid::regclass::text, ' ' ORDER BY id) FROM outbox";
    assert_eq!(
        text(&mut admin, whereabouts).as_deref(),
        Some("outbox_default outbox_default")
    );
    assert_eq!(number(&mut kernel, "stray_rows('audit_log')"), 0);
    assert!(number(&mut kernel, "stray_rows('outbox')") > 0);

    assert_eq!(number(&mut kernel, "partitions_keep('outbox')"), 4);
    let month = text(&mut admin, "to_char(app_now() AT TIME ZONE 'UTC', 'YYYYMM')").expect("a month");
    let moved = format!("outbox_default outbox_{month}");
    assert_eq!(
        text(&mut admin, whereabouts),
        Some(moved),
        "this month's row moved, the old one stayed"
    );
    assert!(number(&mut kernel, "stray_rows('outbox')") > 0);
    assert_eq!(
        number(&mut kernel, "partitions_keep('outbox')"),
        0,
        "a second time there is nothing to do"
    );

    enter(&mut tenant, PLATFORM);
    assert_eq!(
        number(&mut tenant, "SELECT count(*) FROM outbox"),
        2,
        "the workspace sees them wherever they are"
    );
    run(&mut tenant, "COMMIT");
    for child in ["outbox_default".to_owned(), format!("outbox_{month}")] {
        assert!(
            refused(&mut tenant, &format!("SELECT FROM {child}")).contains("permission denied"),
            "{child}"
        );
    }
    let report = guildhall::kernel::catalogue::inspect(
        &mut kernel,
        &guildhall::app::migrate::newest(),
        guildhall::kernel::catalogue::Depth::Full,
    )
    .expect("read");
    assert!(
        report.findings.is_empty(),
        "the new partitions are behind the same wall:\n{report}"
    );

    run(
        &mut kernel,
        "BEGIN; SELECT set_config('app.clock_offset', '200 days', true); SELECT partitions_keep('outbox'); COMMIT",
    );
    let gone = format!("to_regclass('outbox_{month}') IS NULL");
    assert_eq!(
        text(&mut admin, &gone).as_deref(),
        Some("true"),
        "after 90 days a month is dropped"
    );
    assert!(refused(&mut kernel, "SELECT partitions_keep('users')").contains("not a partitioned table"));
}

/// Whoever looks is not told of rows that were moved where they belong.
#[test]
fn a_default_partition_that_was_emptied_holds_none() {
    let database = Database::migrated();
    let (mut tenant, mut kernel, mut admin) = (database.tenant(), database.kernel(), database.admin());
    enter(&mut tenant, PLATFORM);
    run(&mut tenant, &event_at("app_now()"));
    run(&mut tenant, "COMMIT");
    assert!(number(&mut kernel, "stray_rows('outbox')") > 0);
    run(&mut kernel, "SELECT partitions_keep('outbox')");
    assert_eq!(number(&mut kernel, "stray_rows('outbox')"), 0);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM outbox"), 1);
    // All tables that go by months are looked at, and no others.
    let known = text(
        &mut admin,
        "SELECT string_agg(name, ' ' ORDER BY name) FROM partitioned_tables",
    );
    let there = "SELECT string_agg(relname::text, ' ' ORDER BY relname::text) FROM pg_class WHERE relkind = 'p' AND relnamespace = 'guildhall'::regnamespace";
    assert_eq!(known, text(&mut admin, there));
}

/// Three sealed entries, all of the dawn of time.
fn sealed_entries() -> String {
    (1..=3)
        .map(|seq| {
            let id = format!("00000000-0000-7000-8000-00000000000{seq}");
            format!(
                "INSERT INTO audit_log (id, action) VALUES ('{id}', 'test.done');
                 INSERT INTO audit_personal (entry_id, salt) VALUES ('{id}', '\\x00');
                 INSERT INTO audit_seals (seq, entry_id, hash) VALUES ({seq}, '{id}', '\\x00');"
            )
        })
        .collect()
}

#[test]
fn old_audit_entries_go_in_batches_and_only_below_a_signed_checkpoint() {
    let database = Database::migrated();
    let (mut tenant, mut kernel, mut admin) = (database.tenant(), database.kernel(), database.admin());
    let prune = format!("audit_prune('{PLATFORM}', app_now(), 1)");
    assert_eq!(number(&mut kernel, &prune), 0, "nothing is old");

    enter(&mut tenant, PLATFORM);
    run(&mut tenant, &sealed_entries());
    run(&mut tenant, "COMMIT");
    assert!(refused(&mut kernel, &format!("SELECT {prune}")).contains("no signed checkpoint"));

    enter(&mut tenant, PLATFORM);
    run(
        &mut tenant,
        "INSERT INTO audit_checkpoints (seq, hash, kid, signature) VALUES (1, '\\x00', 'k', '\\x00'), (2, '\\x00', 'k', '\\x00'); COMMIT",
    );
    let other = format!(
        "audit_prune('{}', app_now(), 1)",
        "00000000-0000-7000-8000-0000000000ff"
    );
    assert_eq!(
        number(&mut kernel, &other),
        0,
        "another workspace's entries are not these"
    );
    assert_eq!(number(&mut kernel, &prune), 1);
    assert_eq!(number(&mut kernel, &prune), 1);
    assert_eq!(number(&mut kernel, &prune), 0, "what lies above the checkpoint stays");
    let left = "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM audit_seals";
    assert_eq!(
        text(&mut admin, left).as_deref(),
        Some("2 3"),
        "the checkpoint's own seal stays: the chain verifies from there on"
    );
    assert_eq!(number(&mut admin, "SELECT count(*) FROM audit_log"), 1);
    assert_eq!(number(&mut admin, "SELECT count(*) FROM audit_personal"), 1);
    assert!(refused(&mut tenant, &format!("SELECT {prune}")).contains("permission denied"));
}

fn db(database: &Database) -> Db {
    let urls = &database.urls;
    Db::open(
        urls.tenant.clone(),
        urls.kernel.clone(),
        Sizes { tenant: 1, kernel: 1 },
        Clock::system(),
    )
}

#[tokio::test]
async fn upkeep_makes_partitions_of_every_partitioned_table() {
    let database = Database::migrated();
    upkeep::partitions(db(&database)).await.expect("made");
    let mut admin = database.admin();
    let without = "SELECT count(*) FROM pg_class c WHERE c.relkind = 'p' AND c.relnamespace = 'guildhall'::regnamespace
                      AND (SELECT count(*) FROM pg_inherits h WHERE h.inhparent = c.oid) < 5";
    assert_eq!(
        number(&mut admin, without),
        0,
        "four months and the default, of every table"
    );
    assert_eq!(number(&mut admin, "SELECT count(*) FROM partitioned_tables"), 4);
}

/// Rows that are over and rows that are not, more than a batch of them, and none of the latter goes.
#[tokio::test]
async fn upkeep_removes_what_is_over_and_nothing_else() {
    let database = Database::migrated();
    let mut admin = database.admin();
    enter(&mut admin, PLATFORM);
    run(
        &mut admin,
        "INSERT INTO users (id, display_name) VALUES ('00000000-0000-7000-8000-0000000000cc', 'Somebody');
         INSERT INTO idempotency_keys (principal, route, key_hash, fingerprint, state, expires_at)
           SELECT 'p', 'r', decode(lpad(to_hex(n), 8, '0'), 'hex'), '', 'done', app_now() + make_interval(hours => n % 2 * 3 - 2)
             FROM generate_series(1, 2402) n;
         INSERT INTO sessions (id, user_id, not_after, idle_after, revoked_at, revoke_reason)
           SELECT gen_random_uuid(), '00000000-0000-7000-8000-0000000000cc', app_now() + ends * interval '1 hour', app_now() + idles * interval '1 hour',
                  app_now() + revoked * interval '1 hour', CASE WHEN revoked IS NOT NULL THEN 'asked' END
             FROM (VALUES (99, 99, NULL), (99, -71, NULL), (99, 99, -71), (-73, 99, NULL), (99, -73, NULL), (99, 99, -73)) v (ends, idles, revoked);
         INSERT INTO entitlement_counters (code, period_key, used) VALUES ('agents', '', 3), ('runs', '2001-01', 9),
           ('runs', to_char(app_now(), 'YYYY-MM'), 4);
         INSERT INTO credential_throttles (bucket, key_hash, last_at) VALUES ('login', '\\x01', app_now() - interval '25 hours'), ('login', '\\x02', app_now());
         INSERT INTO security_events (id, user_id, kind, created_at)
           SELECT gen_random_uuid(), '00000000-0000-7000-8000-0000000000cc', 'session.created', app_now() - days * interval '1 day'
             FROM (VALUES (365), (367)) v (days);
         INSERT INTO mails (id, template, recipient, dedupe_key, state, created_at)
           SELECT gen_random_uuid(), 'verify_email', 'ann@example.com', state || days, state, app_now() - days * interval '1 day'
             FROM (VALUES (89, 'sent'), (91, 'sent'), (91, 'dead'), (91, 'queued')) v (days, state);
         INSERT INTO mails (id, template, recipient, dedupe_key, state, created_at)
           SELECT gen_random_uuid(), 'verify_email', 'ann@example.com', n::text, 'queued', app_now() - interval '92 days' FROM generate_series(1, 1000) n;
         INSERT INTO workspace_slugs (slug, until) VALUES ('former', app_now() - interval '1 hour'), ('late', app_now() + interval '1 hour');
         INSERT INTO outbox_dead (event_id, consumer, error, tries, died_at)
           SELECT gen_random_uuid(), 'webhooks', 'odd', 10, app_now() - days * interval '1 day' FROM (VALUES (89), (91)) v (days);
         COMMIT",
    );
    let removed = upkeep::sweep(&db(&database)).await.expect("swept");
    // A session that was merely forgotten stays until its greatest age.
    assert_eq!(removed, 1_201 + 2 + 1 + 1 + 1 + 2 + 1 + 1);
    let left = "SELECT (SELECT count(*) FROM idempotency_keys WHERE expires_at > app_now()) || ' ' || (SELECT count(*) FROM idempotency_keys)
                  || ' ' || (SELECT count(*) FROM sessions) || ' ' || (SELECT count(*) FROM entitlement_counters) || ' ' || (SELECT count(*) FROM credential_throttles)
                  || ' ' || (SELECT count(*) FROM security_events) || ' ' || (SELECT count(*) FROM mails) || ' ' || (SELECT count(*) FROM workspace_slugs)
                  || ' ' || (SELECT count(*) FROM outbox_dead)";
    assert_eq!(text(&mut admin, left).as_deref(), Some("1201 1201 4 2 1 1 1002 1 1"));
    assert_eq!(upkeep::sweep(&db(&database)).await.expect("swept"), 0);
}
