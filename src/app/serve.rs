//! `guildhall serve`: from the first connection to the last, and nobody hung up on in between.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::dev::ServerHandle;
use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::{
    app::{
        admin, api,
        boot::Deployment,
        end::{self, End},
        guard,
    },
    kernel::{clock::Clock, config::Config, telemetry},
};

/// How much longer than serving on and waiting for requests the end may take: refusals are still to be written down.
const REST: Duration = Duration::from_secs(10);

/// Serves until a signal asks for the end.
///
/// # Errors
/// What keeps the process from serving.
pub fn run(config: Config) -> Result<()> {
    let _reporting = telemetry::start(&config)?;
    let server = &config.server;
    let bind =
        |host, port| TcpListener::bind((host, port)).with_context(|| format!("port {port} of {host} cannot be had"));
    let socket = bind(server.host, server.port)?;
    let admin_socket = bind(server.admin_host, server.admin_port)?;
    let mut end = End::of_a_service(Duration::from_secs(server.drain_seconds) + api::REQUESTS + REST)?;
    actix_web::rt::System::new().block_on(async move {
        let deployment = Arc::new(Deployment::new(config, Clock::system())?);
        let served = serve(&deployment, socket, admin_socket, &mut end).await;
        end::let_go_of_threads(deployment.db.gate()).await;
        served
    })
}

async fn serve(
    deployment: &Arc<Deployment>,
    socket: TcpListener,
    admin_socket: TcpListener,
    end: &mut End,
) -> Result<()> {
    let server = api::serve(deployment.clone(), socket)?;
    let admin = admin::serve(deployment.clone(), admin_socket)?;
    let (handle, admin_handle) = (server.handle(), admin.handle());
    let mut serving = actix_web::rt::spawn(server);
    actix_web::rt::spawn(admin);
    tokio::select! {
        () = end.asked() => {}
        // Until the gate has passed, probes and pages are answered; whoever asks for more is told to come back.
        refused = gate(deployment) => return refused,
        ended = &mut serving => return ended?.context("the server ended by itself"),
    }
    end.waits_for("requests, and refusals that the audit log lacks");
    let drained = drain(deployment, &handle).await;
    admin_handle.stop(false).await;
    match drained {
        Ok(()) => Ok(()),
        Err(left) => end::without(left),
    }
}

/// Passes the boot gate, and then has nothing more to say: it only comes back with what keeps the process from serving.
async fn gate(deployment: &Deployment) -> Result<()> {
    guard::may_serve(&deployment.db, deployment.config.is_production()).await?;
    deployment.prepare().await?;
    deployment.readiness.booted();
    deployment.write_documents();
    std::future::pending().await
}

/// Ends in peace: the balancer is told at once and served until it has noticed, then what is in flight is finished.
///
/// # Errors
/// What is not: it took too long.
pub async fn drain(deployment: &Deployment, server: &ServerHandle) -> Result<(), &'static str> {
    let patience = deployment.config.server.drain_seconds;
    tracing::info!(seconds = patience, "asked to end: unready, and serving on for a while");
    deployment.readiness.drain();
    sleep(Duration::from_secs(patience)).await;
    deployment.readiness.close();
    let begun = Instant::now();
    server.stop(true).await;
    let cut_off = begun.elapsed() >= api::REQUESTS;
    deployment.refusals.flush().await;
    if cut_off {
        return Err("requests");
    }
    // Whoever asked was answered in time; what was asked of a database that hangs is still with it.
    end::threads(deployment.db.gate()).await?;
    tracing::info!("nothing is in flight any more");
    Ok(())
}
