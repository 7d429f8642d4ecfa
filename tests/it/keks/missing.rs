//! A key that is in use and not there.

use guildhall::kernel::secret::Secret;

use super::{BOTH, House, ONE, SWAPPED, TWO};
use crate::{
    identity::{PASSWORD, login, someone},
    world::gate::Gate,
};

#[actix_web::test]
async fn no_process_starts_without_a_key_that_is_in_use() {
    let house = House::with(ONE).await;
    login(&house.world, &someone(&house.world).await).await;
    assert_eq!(house.entered(), "k1");

    let refused = house.deployment(TWO).prepare().await.expect_err("k1 is in use");
    let why = format!("{refused:#}");
    assert!(
        why.contains("k1") && why.contains("add it behind the current one"),
        "{why}"
    );
    for arguments in [
        &["serve"][..],
        &["worker"],
        &["admin", "keys", "rotate", "access"],
        &["admin", "keks", "rewrap"],
        &["admin", "bootstrap", "--email", "ann@operator.example"],
    ] {
        let why = house.says(TWO, arguments).await.refused();
        assert!(
            why.contains("key-encryption key k1, which is not among secrets.keks"),
            "{arguments:?}: {why}"
        );
    }
    assert_eq!(house.entered(), "k1", "whoever is refused seals nothing");

    let listed = house.says(TWO, &["admin", "keks", "list"]).await.well();
    assert!(listed.contains("k1: NOT among secrets.keks, in use since"), "{listed}");
    let found = house.says(TWO, &["doctor"]).await.refused();
    assert!(found.contains("k1 is in use, and not among secrets.keks"), "{found}");

    house
        .deployment(BOTH)
        .prepare()
        .await
        .expect("behind the current one nothing is sealed");
    assert_eq!(house.entered(), "k1", "one that only opens is not in use");
    let found = house.says(BOTH, &["doctor"]).await.well();
    assert!(found.contains("key-encryption keys: k1 alone is in use"), "{found}");
}

#[actix_web::test]
async fn of_two_processes_that_begin_together_with_different_keys_one_is_refused() {
    let house = House::with(ONE).await;
    house.world.admin("DELETE FROM guildhall.keks");
    let gate = Gate::on_insert(&house.world, "keks");
    let (one, two) = (house.deployment(ONE), house.deployment(TWO));
    let first = async { one.prepare().await.expect("the first one") };
    let second = async {
        let refused = two.prepare().await.expect_err("k1 is in use by then");
        assert!(format!("{refused:#}").contains("k1"), "{refused:#}");
    };
    gate.meet(first, second, "SELECT%advisory_xact_lock").await;
    assert_eq!(house.entered(), "k1");
}

#[actix_web::test]
async fn the_operator_sees_what_is_under_which_key() {
    let house = House::with(ONE).await;
    let world = &house.world;
    login(world, &someone(world).await).await;
    let server = house.serve(SWAPPED).await;
    let (email, password) = (world.email("ann"), Some(Secret::new(PASSWORD.to_owned())));
    let found = server.0.identity.found(&email, "Ann", password).await;
    found.expect("a person");
    let login = serde_json::json!({ "identifier": email, "password": PASSWORD });
    world.anonymous().at(&server.1).post("/auth/login", login).await.ok();

    let listed = house.says(SWAPPED, &["admin", "keks", "list"]).await.well();
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    let place = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect(start);
    let (one, two) = (place("k1: older, in use since"), place("k2: current, in use since"));
    let (first, second) = (&lines[one..two], &lines[two..]);
    for (kek, said) in [("k1", first), ("k2", second)] {
        let rows = house.under(kek)["sessions.refresh_key_sealed"];
        assert!(
            said.contains(&format!("{rows}  sessions.refresh_key_sealed").as_str()),
            "{listed}"
        );
    }
    let found = house.says(SWAPPED, &["doctor"]).await.well();
    assert!(
        found.contains("k1 is in use beside the current one")
            && found.contains("`guildhall admin keks rewrap` moves its records to k2"),
        "{found}"
    );
}
