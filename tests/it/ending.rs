//! The end of a process that serves: who is told, what is finished, and what is not waited for.

use std::{
    future::IntoFuture,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::dev::ServerHandle;
use guildhall::{
    app::{api, serve},
    kernel::access::Call,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    runs::{echo, start},
    world::{World, patience::until},
};

/// A server of the world's deployment beside its own.
fn served(world: &World) -> ServerHandle {
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let server = api::serve(world.deployment.clone(), socket).expect("a server");
    let handle = server.handle();
    actix_web::rt::spawn(server);
    handle
}

#[actix_web::test]
async fn a_process_that_ends_says_so_and_finishes_what_it_began() {
    let world = World::new().await;
    world.anonymous().get("/readyz").await.ok();
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
    let server = api::serve_with(world.deployment.clone(), socket, |config| {
        config.route("/dev/slow", actix_web::web::get().to(slow));
    });
    let server = server.expect("a server");
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    let url = format!("{base}/dev/slow");
    let in_flight = actix_web::rt::spawn(async move { reqwest::get(url).await?.text().await });
    BEGUN.notified().await;

    let (deployment, handle) = (Arc::clone(&world.deployment), handle);
    let ending = actix_web::rt::spawn(async move { serve::drain(&deployment, &handle).await });
    until("it says that it ends", async || {
        world.anonymous().get("/readyz").await.status == 503
    })
    .await;
    let unready = world.anonymous().get("/readyz").await;
    assert_eq!(
        (unready.status.as_u16(), &unready.body),
        (503, &json!({"status": "unready"}))
    );
    assert_eq!(unready.header("connection"), "close", "come back elsewhere");
    world.owner().get("/workspace").await.ok();
    GO_ON.notify_one();
    ending.await.expect("it ends").expect("all is done");
    assert_eq!(in_flight.await.expect("it ran").expect("an answer"), "done");
    serving.await.expect("joined").expect("ended in peace");
    let refused: Result<Value, _> = reqwest::get(format!("{base}/healthz")).await.map(|_| Value::Null);
    assert!(refused.is_err(), "nobody listens any more");
}

/// The slow handler has begun, and may end.
static BEGUN: Notify = Notify::const_new();
static GO_ON: Notify = Notify::const_new();

async fn slow() -> &'static str {
    BEGUN.notify_one();
    GO_ON.notified().await;
    "done"
}

#[actix_web::test]
async fn who_waits_is_answered_when_the_process_serves_on_no_longer() {
    let world = World::with(&[("SERVER__DRAIN_SECONDS", "0")]).await;
    let owner = world.owner();
    let agent = echo(&owner).await;
    let run = start(&owner, &agent, "x").await;
    let home = world.home().uuid();
    let handle = served(&world);
    let ends = async {
        let accepted = format!("SELECT count(*) FROM guildhall.runs WHERE workspace_id = '{home}'");
        until("the other one is accepted", async || world.count(&accepted) == 2).await;
        serve::drain(&world.deployment, &handle).await.expect("all is done");
    };
    let other = owner.post(&format!("{agent}/execute"), json!({ "input": { "say": "y" } }));
    let (seen, accepted, ()) = futures_util::join!(
        owner.get(&run).header("prefer", "wait=60").into_future(),
        other.header("prefer", "wait=60").into_future(),
        ends
    );
    assert_eq!(seen.body["status"], "pending");
    assert_eq!(accepted.status, 202);
    for answer in [seen, accepted] {
        assert_ne!(answer.header("preference-applied"), "wait=60");
    }
}

#[actix_web::test]
async fn what_the_database_has_not_answered_is_waited_for_a_while_and_then_named() {
    let world = World::with(&[("SERVER__DRAIN_SECONDS", "0")]).await;
    let call = Call::internal("test", "test".into());
    // The thread that asks holds such a permit until it is answered.
    let asks = world.deployment.db.gate().enter(&call, None).await.expect("room");
    let begun = Instant::now();
    let drained = serve::drain(&world.deployment, &served(&world)).await;
    assert_eq!(drained, Err("the database"));
    assert!(begun.elapsed() >= Duration::from_secs(3), "it may be answered yet");
    drop(asks);

    let world = World::with(&[("SERVER__DRAIN_SECONDS", "0")]).await;
    let asks = world.deployment.db.gate().enter(&call, None).await.expect("room");
    let handle = served(&world);
    let answered = async {
        until("it ends", async || world.deployment.readiness.is_closing()).await;
        drop(asks);
    };
    let (drained, ()) = futures_util::join!(serve::drain(&world.deployment, &handle), answered);
    assert_eq!(drained, Ok(()));
}
