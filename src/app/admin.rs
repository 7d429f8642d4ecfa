//! The admin listener: metrics and detailed readiness, on an address that is never public.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    http::header::CONTENT_TYPE,
    web::{self, Data},
};
use anyhow::Result;
use serde_json::json;

use crate::{
    app::{
        boot::Deployment,
        health::{Dependency, Status},
    },
    kernel::{metrics, redis::State},
};

/// Starts serving on an open socket.
///
/// # Errors
/// The socket cannot be used.
pub fn serve(deployment: Arc<Deployment>, socket: TcpListener) -> Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::from(deployment.clone()))
            .route("/metrics", web::get().to(all_metrics))
            .route("/healthz", web::get().to(health))
            .route("/readyz", web::get().to(ready))
    })
    .workers(1)
    .client_request_timeout(Duration::from_secs(5))
    .shutdown_timeout(1)
    .disable_signals()
    .listen(socket)?
    .run();
    Ok(server)
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

async fn all_metrics(deployment: Data<Deployment>) -> HttpResponse {
    gauge(&deployment).await;
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(metrics::text())
}

/// Looks at what is not counted as it happens.
async fn gauge(deployment: &Deployment) {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    for (class, room, in_use, line) in deployment.db.gate().gauges() {
        let class = class.name();
        metrics::GATE_PERMITS
            .with_label_values(&[class])
            .set(number(room.permits));
        metrics::GATE_IN_USE.with_label_values(&[class]).set(number(in_use));
        metrics::GATE_LINE.with_label_values(&[class]).set(number(line));
    }
    for (pool, all, idle) in deployment.db.connections() {
        for (state, count) in [("idle", idle), ("in_use", all.saturating_sub(idle))] {
            metrics::DB_CONNECTIONS
                .with_label_values(&[pool, state])
                .set(i64::from(count));
        }
    }
    let found = deployment.health.dependencies().await;
    metrics::DB_UP.set(i64::from(found.database == Dependency::Up));
    let open = deployment.redis.state() == State::Down;
    metrics::BREAKER_STATE
        .with_label_values(&["redis"])
        .set(i64::from(open));
}

/// Everything at once: `?verbose` is accepted, and is the only way to ask.
async fn ready(deployment: Data<Deployment>) -> HttpResponse {
    let status = deployment.health.status().await;
    let found = deployment.health.dependencies().await;
    let limits = if found.redis == Dependency::Up {
        "shared"
    } else {
        "alone"
    };
    let document = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "dependencies": found,
        "rate_limits": { "judged": limits, "fallbacks": metrics::RATELIMIT_FALLBACK.get() },
    });
    match status {
        Status::Ready | Status::Degraded => HttpResponse::Ok().json(document),
        Status::Unready => HttpResponse::ServiceUnavailable().json(document),
    }
}
