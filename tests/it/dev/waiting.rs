//! A stack whose database lets nobody in.

use std::{fs, time::Duration};

use super::Stack;
use crate::world::patience::found;

#[test]
fn nobody_has_to_wait_with_a_stack_for_its_database() {
    let mut stack = Stack::new("waits");
    stack.start();
    assert!(stack.end("TERM").success());
    let rules = stack.folder.join("data/postgres/cluster/pg_hba.conf");
    let before = fs::read_to_string(&rules).expect("who may come in");
    fs::write(&rules, format!("host guildhall app_tenant all reject\n{before}")).expect("written");
    for signal in ["INT", "TERM"] {
        stack.begin(&[]);
        let waits = || stack.said().contains("waiting for it").then_some(());
        found(Duration::from_secs(60), || stack.said(), waits);
        assert!(stack.end(signal).success());
        assert!(stack.processes().is_empty(), "it waits for what it started");
    }
}
