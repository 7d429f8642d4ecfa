//! L5 for the routes: a hole is opened in a process of its own, and the suite has to fall into it. A suite that finds nothing in a leaking
//! server proves nothing about a tight one.

use std::{collections::BTreeSet, env, process::Command, sync::Mutex, thread};

use super::FOUND;
use crate::{
    database::server,
    rules::{none, sources},
};

/// A hole, the test that has to find it, and the operations that are enough for that.
const HOLES: [(&str, &str, &str); 13] = [
    (
        "no-check",
        "everybody_may_do_what_the_document_says_and_nothing_else",
        "members",
    ),
    (
        "wrong-permission",
        "everybody_may_do_what_the_document_says_and_nothing_else",
        "members",
    ),
    (
        "key-scope-ignored",
        "everybody_may_do_what_the_document_says_and_nothing_else",
        "members",
    ),
    (
        "key-outlives-revocation",
        "nobody_is_let_in_who_has_no_business_here",
        "members",
    ),
    (
        "key-outlives-expiry",
        "nobody_is_let_in_who_has_no_business_here",
        "members",
    ),
    (
        "key-of-any-workspace",
        "nobody_is_let_in_who_has_no_business_here",
        "members",
    ),
    (
        "header-before-membership",
        "nobody_is_let_in_who_has_no_business_here",
        "members",
    ),
    (
        "staff-everywhere",
        "nobody_is_let_in_who_has_no_business_here",
        "members",
    ),
    (
        "forbidden-for-not-found",
        "foreign::a_foreign_id_is_as_good_as_none",
        "members",
    ),
    (
        "first-scope-stays",
        "foreign::a_foreign_id_is_as_good_as_none",
        "members",
    ),
    (
        "filter-dropped",
        "foreign::a_foreign_id_is_as_good_as_none",
        "webhook_deliveries_list",
    ),
    (
        "cursor-unscoped",
        "foreign::a_cursor_leads_nowhere_but_where_it_was_made",
        "agents",
    ),
    (
        "cursor-unsigned",
        "foreign::a_cursor_leads_nowhere_but_where_it_was_made",
        "agents",
    ),
];

/// What a test says about a server with that hole, in a process of its own.
fn output(hole: &str, test: &str, operations: &str) -> String {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", &format!("isolation::routes::{test}")])
        .env("GUILDHALL_LEAK", hole)
        .env("GUILDHALL_L2", operations)
        .env("DATABASE_URL", server().admin())
        .env("REDIS", "off")
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// With no hole open the same tests find nothing: they run in this process too.
#[test]
fn every_hole_in_the_code_is_found_and_by_whom_is_known() {
    let (holes, broken) = (Mutex::new(HOLES.iter()), Mutex::new(Vec::new()));
    let next = || holes.lock().expect("no panic").next();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((hole, test, operations)) = next() {
                    let said = output(hole, test, operations);
                    if !said.contains(FOUND) {
                        let line = format!("{hole} was not found by {test}:\n{said}");
                        broken.lock().expect("no panic").push(line);
                    }
                }
            });
        }
    });
    none("holes in the code", broken.into_inner().expect("no panic"));
}

#[test]
fn every_hole_has_its_line() {
    let mut open = BTreeSet::new();
    for (_, text) in sources("src") {
        open.extend(
            text.split("leak!(\"")
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
        );
    }
    let listed = HOLES.iter().map(|(hole, ..)| (*hole).to_owned()).collect();
    assert_eq!(open, listed);
}
