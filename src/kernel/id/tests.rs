//! Ids as they are written, read and made.

use super::*;

#[test]
fn quick_ids_are_new_each_time_and_sort_by_time() {
    let now = crate::kernel::clock::Clock::system().now();
    let mut ids: Vec<_> = (0..1_000)
        .map(|n| Id::<()>::quick(now + chrono::Duration::milliseconds(n)))
        .collect();
    assert!(ids.is_sorted());
    assert_eq!(ids[0].uuid().get_version_num(), 7);
    ids.extend((0..1_000).map(|_| Id::<()>::quick(now)));
    let different: std::collections::HashSet<_> = ids.iter().map(|id| id.uuid()).collect();
    assert_eq!(different.len(), 2_000);
    // Every thread counts for itself.
    let made = || (0..1_000).map(|_| Id::<()>::quick(now).uuid()).collect::<Vec<_>>();
    let threads: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(made)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let different: std::collections::HashSet<_> = threads.concat().into_iter().collect();
    assert_eq!(different.len(), 4_000);
}

#[test]
fn an_id_reads_back_what_it_wrote() {
    let now = crate::kernel::clock::Clock::system().now();
    let id = UserId::new(now);
    assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
    assert_eq!(id.to_string().len(), 30);
}

#[test]
fn the_vectors_of_the_typeid_specification_hold() {
    for (uuid, text) in [
        ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000"),
        ("00000000-0000-0000-0000-000000000001", "00000000000000000000000001"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "01h455vb4pex5vsknk084sn02q"),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
    ] {
        let uuid: Uuid = uuid.parse().expect("a UUID");
        assert_eq!(std::str::from_utf8(&encode(uuid)), Ok(text));
        assert_eq!(decode(text), Some(uuid));
    }
}

#[test]
fn what_is_malformed_or_of_another_kind_is_no_id() {
    for text in [
        "",
        "usr",
        "usr_",
        "usr_0",
        "wsp_01h455vb4pex5vsknk084sn02q",
        "usr_81h455vb4pex5vsknk084sn02q",
        "usr_01H455VB4PEX5VSKNK084SN02Q",
        "usr_01h455vb4pex5vsknk084sn0il",
        "usr_01h455vb4pex5vsknk084sn02q ",
    ] {
        assert_eq!(text.parse::<UserId>(), Err(NotAnId), "{text:?}");
    }
}

#[test]
fn an_id_of_any_kind_comes_apart_and_together() {
    let text = "usr_01h455vb4pex5vsknk084sn02q";
    let (prefix, uuid) = parts(text).expect("an id");
    assert_eq!((prefix, public(prefix, uuid)), ("usr", text.to_owned()));
    for text in ["usr", "usr_", "usr_01", "01h455vb4pex5vsknk084sn02q"] {
        assert_eq!(parts(text), None, "{text}");
    }
}

#[test]
fn ids_of_later_instants_sort_later() {
    let now = crate::kernel::clock::Clock::system().now();
    assert!(UserId::new(now) < UserId::new(now + chrono::Duration::milliseconds(2)));
}

#[test]
fn ids_that_one_thread_makes_of_one_instant_are_in_the_order_of_their_making() {
    let now = crate::kernel::clock::Clock::system().now();
    let ids: Vec<_> = (0..10_000).map(|_| Id::<()>::new(now)).collect();
    assert!(ids.is_sorted());
    assert_eq!(ids[0].uuid().get_version_num(), 7);
    let elsewhere = std::thread::spawn(move || Id::<()>::new(now)).join().expect("an id");
    assert!(!ids.contains(&elsewhere));
}
