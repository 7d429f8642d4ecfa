//! How many keys are told apart, and for how long.

use std::collections::HashSet;

use super::*;

#[test]
fn beyond_so_many_keys_strangers_share_a_bucket_and_those_who_are_known_keep_theirs() {
    let local = Local::with_room_for(1_000, 1);
    let ask = [Ask::new("anonymous", Quota::per_hour(50))];
    let home = |at: u32| Home::address(Some(IpAddr::V4(Ipv4Addr::from_bits(at))));
    for at in 0..1_000 {
        assert!(local.take(&home(at), &ask).is_allowed());
    }
    let strangers = (1_000..2_000)
        .filter(|at| local.take(&home(*at), &ask).is_allowed())
        .count();
    assert_eq!(strangers, 50, "one bucket for all of them");
    assert!((0..1_000).all(|at| local.take(&home(at), &ask).is_allowed()));
    assert!(local.kept() <= 1_001, "{}", local.kept());
}

#[test]
fn what_is_full_again_is_forgotten() {
    let local = Local::with_room_for(1_000, 1);
    let quick = [Ask::new("read", Quota::per_second(1_000))];
    for at in 0..500 {
        local.take(&Home::address(address((at % 250) as u8)), &quick);
    }
    local.take(&Home::address(address(255)), &[Ask::new("export", SLOW)]);
    std::thread::sleep(Duration::from_millis(20));
    local.prune();
    assert_eq!(local.kept(), 1, "only the slow one is still counting");
}

#[test]
fn no_two_buckets_of_a_home_share_a_key() {
    let home = home();
    let names = [
        "ip",
        "anonymous",
        "unproven",
        "credential",
        "user",
        "workspace",
        "write",
        "search",
        "bulk",
        "export",
        "execute",
    ];
    let keys: HashSet<_> = names.iter().map(|name| home.key(&Ask::new(name, SLOW))).collect();
    assert_eq!(keys.len(), names.len());
}
