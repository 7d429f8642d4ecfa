//! What goes wrong on the way.

use diesel::connection::SimpleConnection;

use super::{BOTH, House, ONE, SWAPPED, TWO, many_sessions};
use crate::{
    identity::{login, someone},
    world::{Process, patience::until},
};

/// A house whose server seals under the second key, and in which so many sessions are under the first.
async fn with_sessions(how_many: usize) -> House {
    let house = House::with(SWAPPED).await;
    let person = someone(&house.world).await;
    login(&house.world, &person).await;
    // A process that seals under the first one was here.
    house.says(BOTH, &["admin", "keys", "rotate", "access"]).await;
    many_sessions(&house.world, person.user, how_many);
    house
}

#[actix_web::test]
async fn what_was_killed_half_way_goes_on_where_it_was() {
    let house = with_sessions(1_500).await;
    let mut holder = house.world.superuser();
    // Somebody holds one of them all the while: it cannot be done before it is killed.
    holder
        .batch_execute("BEGIN; SELECT FROM guildhall.sessions WHERE id = (SELECT max(id::text)::uuid FROM guildhall.sessions) FOR UPDATE")
        .expect("held");
    let killed = Process::of(house.command(SWAPPED, &["admin", "keks", "rewrap"]));
    let left = || house.under("k1").values().sum::<i64>();
    until("some of it was moved", async || left() < 1_500).await;
    killed.kill();
    assert!(left() > 0 && house.entered() == "k1,k2", "it was not done");

    holder.batch_execute("ROLLBACK").expect("let go");
    let moved = left();
    let said = house.rewrap(SWAPPED).await.well();
    assert!(said.contains(&format!("Records moved to k2: {moved}.")), "{said}");
    assert_eq!((left(), house.entered().as_str()), (0, "k2"));
    house.deployment(TWO).prepare().await.expect("k1 is gone");
    let said = house.rewrap(SWAPPED).await.well();
    assert!(said.contains("Records moved to k2: 0."), "{said}");
}

#[actix_web::test]
async fn what_was_killed_before_a_key_was_out_says_that_it_may_go_when_it_is_started_again() {
    let house = with_sessions(3).await;
    let world = &house.world;
    let killed = Process::of(house.command(SWAPPED, &["admin", "keks", "rewrap"]));
    let announced = "SELECT count(*) FROM guildhall.keks WHERE id = 'k1' AND trial IS NOT NULL";
    until("the key is about to be taken out", async || world.count(announced) > 0).await;
    killed.kill();
    assert_eq!(house.entered(), "k1,k2");

    let said = house.rewrap(SWAPPED).await.well();
    assert!(said.contains("Nothing is sealed under k1 any more"), "{said}");
    let told = "SELECT count(*) FROM guildhall.audit_log WHERE action = 'kek.retired'";
    assert_eq!((house.entered().as_str(), world.count(told)), ("k2", 1));
}

#[actix_web::test]
async fn a_record_that_does_not_belong_where_it_stands_stays_and_is_named() {
    let house = with_sessions(3).await;
    let world = &house.world;
    let old = "encode(substr(refresh_key_sealed, 3, 2), 'escape') = 'k1'";
    let two = format!("SELECT id FROM guildhall.sessions WHERE {old} ORDER BY id LIMIT 2");
    world.admin(&format!(
        "UPDATE guildhall.sessions one SET refresh_key_sealed = other.refresh_key_sealed FROM guildhall.sessions other \
         WHERE one.id IN ({two}) AND other.id IN ({two}) AND one.id <> other.id"
    ));
    let said = house.rewrap(SWAPPED).await.refused();
    assert_eq!(
        said.matches("left as it is: sessions.refresh_key_sealed of").count(),
        2,
        "{said}"
    );
    assert!(
        said.contains("does not belong where it stands") && said.contains("k1 must stay"),
        "{said}"
    );
    assert_eq!(
        house.under("k1").into_iter().collect::<Vec<_>>(),
        [("sessions.refresh_key_sealed".to_owned(), 2)]
    );
    let why = house
        .deployment(TWO)
        .prepare()
        .await
        .expect_err("k1 is in use")
        .to_string();
    assert!(why.contains("k1"), "{why}");

    // Whoever finds out what happened ends those sessions, and goes on.
    world.admin(&format!("DELETE FROM guildhall.sessions WHERE {old}"));
    house.rewrap(SWAPPED).await.well();
    house.deployment(TWO).prepare().await.expect("k1 is gone");
}

#[actix_web::test]
async fn what_is_sealed_under_a_key_that_nobody_entered_is_found() {
    let house = with_sessions(2).await;
    house.world.admin("DELETE FROM guildhall.keks WHERE id = 'k1'");
    // The same as if its process had died at once: nobody knows of the key, and yet there is something under it.
    let said = house.rewrap(TWO).await.refused();
    assert!(said.contains("k1 must stay"), "{said}");
    assert_eq!(house.entered(), "k1,k2");
    house.says(ONE, &["admin", "keks", "rewrap"]).await.refused();
    house.rewrap(SWAPPED).await.well();
    assert_eq!((house.under("k1").len(), house.entered().as_str()), (0, "k2"));
}
