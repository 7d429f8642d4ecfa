//! `guildhall worker`: does what commits leave to be done, until a signal, and says on its admin listener how that goes.

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::{Context, Result};

use crate::{
    app::{
        admin,
        boot::Deployment,
        end::{self, End},
        guard, memory, worker,
    },
    kernel::{clock::Clock, config::Config, telemetry},
};

/// How long work may go on after a signal before it is put back into the queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much longer the end may take: leases are given back.
const REST: Duration = Duration::from_secs(15);

/// Works until a signal, then finishes what it has.
///
/// # Errors
/// What keeps the process from working.
pub fn run(config: Config) -> Result<()> {
    let _reporting = telemetry::start(&config)?;
    let (host, port) = (config.server.admin_host, config.worker.admin_port);
    let socket = TcpListener::bind((host, port)).with_context(|| format!("port {port} of {host} cannot be had"))?;
    let mut end = End::of_a_service(PATIENCE + REST)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let deployment = Arc::new(Deployment::new(config.of_worker(), Clock::system())?);
        let worked = work(&deployment, socket, &mut end).await;
        end::let_go_of_threads(deployment.db.gate()).await;
        worked
    })
}

async fn work(deployment: &Arc<Deployment>, socket: TcpListener, end: &mut End) -> Result<()> {
    let admin = admin::serve(deployment.clone(), socket)?;
    let handle = admin.handle();
    tokio::spawn(admin);
    tokio::spawn(deployment.keys.clone().keep());
    let worker = tokio::select! {
        () = end.asked() => return Ok(()),
        begun = begin(deployment) => begun?,
    };
    tokio::spawn(memory::give_back());
    deployment.readiness.booted();
    tracing::info!("working");
    end.asked().await;
    tracing::info!("asked to end: finishing what was begun");
    deployment.readiness.drain();
    end.waits_for("jobs, and leases to be given back");
    worker.drain(PATIENCE).await;
    handle.stop(false).await;
    Ok(())
}

/// Passes the boot gate, then takes work.
async fn begin(deployment: &Deployment) -> Result<crate::kernel::jobs::Worker> {
    guard::may_work(&deployment.db, deployment.config.is_production()).await?;
    deployment.prepare().await?;
    worker::start(deployment)
}
