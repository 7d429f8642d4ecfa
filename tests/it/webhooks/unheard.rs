//! A commit that was made, and of which nobody heard.

use std::net::TcpListener;

use guildhall::app::api;
use serde_json::json;

use super::{Receiver, deliveries, listens};
use crate::world::World;

#[actix_web::test]
async fn a_test_whose_record_nobody_heard_of_is_written_down_and_told_once() {
    let (world, receiver) = (World::new().await, Receiver::new());
    let (between, far) = world.half_deaf("INSERT INTO \"webhook_deliveries\"");
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("bound"));
    let server = api::serve(far.clone(), socket).expect("a server");
    let handle = server.handle();
    far.readiness.booted();
    actix_web::rt::spawn(server);

    let owner = world.owner();
    let path = listens(&owner, &receiver, &["workspace.*"]).await.path();
    let tested = owner
        .at(&base)
        .post(&format!("{path}/test"), json!({ "event_type": "workspace.updated" }));
    let answer = tested.await.ok();
    assert!(between.has_kept());
    assert_eq!(
        answer.body["attempts_log"].as_array().map(Vec::len),
        Some(1),
        "{}",
        answer.text
    );
    assert_eq!((deliveries(&world, "test"), receiver.got().len()), (1, 1));
    let told = world.audit();
    let told = told.iter().filter(|entry| entry.starts_with("webhook_endpoint.tested"));
    assert_eq!(told.count(), 1);
    handle.stop(false).await;
}
