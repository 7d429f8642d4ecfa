//! A credential that cannot be checked now is not a wrong one.

use diesel::{PgConnection, connection::SimpleConnection};
use serde_json::json;

use super::{OTHER, PASSWORD, login, mailed_token, someone, try_login};
use crate::world::World;

/// Somebody else holds this lock until the connection is dropped.
fn held(world: &World, lock: &str) -> PgConnection {
    let mut other = world.superuser();
    other.batch_execute(&format!("BEGIN; {lock}")).expect("the lock");
    other
}

#[actix_web::test]
async fn the_right_password_is_never_wrong_because_the_account_is_busy() {
    let world = World::new().await;
    let person = someone(&world).await;
    let busy = held(&world, "SELECT FROM guildhall.users FOR UPDATE");
    let answer = try_login(&world, &person.email, PASSWORD).await.refused("overloaded");
    assert_eq!(answer.status, 503);
    assert!(!answer.header("retry-after").is_empty());
    drop(busy);
    login(&world, &person).await;
}

#[actix_web::test]
async fn a_link_is_never_wrong_because_the_database_is_busy() {
    let world = World::new().await;
    let person = someone(&world).await;
    let ask = json!({ "email": person.email });
    world.anonymous().post("/auth/password/forgot", ask).await.accepted();
    let link = mailed_token(&world, &person.email, "password_reset");
    let reset = || {
        let body = json!({ "token": link, "password": OTHER });
        world.anonymous().post("/auth/password/reset", body)
    };
    let busy = held(&world, "LOCK TABLE guildhall.users IN ACCESS EXCLUSIVE MODE");
    assert_eq!(reset().await.refused("overloaded").status, 503);
    drop(busy);
    reset().await.gone();
}
