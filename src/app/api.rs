//! The mounted slices, in reading order, and the server around them.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::Server,
    middleware::from_fn,
    web::{self, Data},
};
use anyhow::Result;
use utoipa_actix_web::{AppExt, service_config::ServiceConfig};

use crate::{
    app::{boot::Deployment, events, memory, openapi, pages},
    features::{
        agents, billing, customers, entitlements, licenses, machines, policies, products, providers::Providers, runs,
        webhooks,
    },
    kernel::{
        api_keys, audit,
        error::{Error, ROUTE_NOT_FOUND},
        http::front,
        identity, inbox,
        outbox::Catalogue,
        workspaces,
    },
};

/// Everything under `/api/v1`, in reading order.
pub fn slices(routes: &mut ServiceConfig) {
    identity::routes(routes);
    workspaces::routes(routes);
    api_keys::routes(routes);
    audit::routes(routes);
    inbox::routes(routes);
    products::routes(routes);
    entitlements::routes(routes);
    policies::routes(routes);
    customers::routes(routes);
    licenses::routes(routes);
    machines::routes(routes);
    webhooks::routes(routes);
    agents::routes(routes);
    runs::routes(routes);
    billing::routes(routes);
}

/// What stands beside the versioned API: probes, documents, pages behind links.
pub fn roots(routes: &mut ServiceConfig) {
    pages::routes(routes);
    identity::roots(routes);
    licenses::roots(routes);
}

/// The OpenAPI document of the mounted routes.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, document) = App::new()
        .into_utoipa_app()
        .openapi(openapi::information())
        .configure(roots)
        .service(utoipa_actix_web::scope::scope("/api/v1").configure(slices))
        .split_for_parts();
    document
}

/// Starts serving on an open socket.
///
/// # Errors
/// The socket cannot be used.
pub fn serve(deployment: Arc<Deployment>, socket: TcpListener) -> Result<Server> {
    serve_with(deployment, socket, |_| {})
}

/// The same, with more beside it: what only a development stack has.
///
/// # Errors
/// The socket cannot be used.
pub fn serve_with(
    deployment: Arc<Deployment>,
    socket: TcpListener,
    more: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> Result<Server> {
    let workers = match deployment.config.server.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        chosen => chosen,
    };
    let threads = deployment.config.database.tenant_connections + deployment.config.database.kernel_connections + 8;
    actix_web::rt::spawn(memory::give_back());
    actix_web::rt::spawn(deployment.keys.clone().keep());
    actix_web::rt::spawn(deployment.doorkeeper.clone().into_inner().keep());
    actix_web::rt::spawn(deployment.refusals.clone().keep());
    let server = HttpServer::new(move || {
        let state = deployment.clone();
        App::new()
            .into_utoipa_app()
            .configure(roots)
            .service(utoipa_actix_web::scope::scope("/api/v1").configure(slices))
            .into_app()
            .configure(|config| share(config, &state))
            .configure(more.clone())
            .default_service(web::to(unknown))
            .wrap(from_fn(front::front))
    })
    .workers(workers)
    .worker_max_blocking_threads(threads)
    .client_request_timeout(Duration::from_secs(5))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(30)
    .max_connections(4_000)
    .disable_signals()
    .listen(socket)?
    .run();
    Ok(server)
}

/// What handlers ask for.
fn share(config: &mut web::ServiceConfig, state: &Deployment) {
    config
        .app_data(state.front.clone())
        .app_data(state.doorkeeper.clone())
        .app_data(state.identity.clone())
        .app_data(Data::new(state.keys.clone()))
        .app_data(Data::new(state.config.auth.clone()))
        .app_data(Data::from(state.operations.clone()))
        .app_data(Data::new(state.door.clone()))
        .app_data(Data::new(state.peppers.clone()))
        .app_data(Data::new(state.db.clone()))
        .app_data(Data::new(state.limits.clone()))
        .app_data(Data::new(state.clock.clone()))
        .app_data(Data::new(state.cursors.clone()))
        .app_data(Data::new(Providers {
            sandbox: state.config.runs.sandbox,
        }))
        .app_data(Data::from(state.keyring.clone()))
        .app_data(Data::new(state.mailer.clone()))
        .app_data(Data::new(state.outbound.clone()))
        .app_data(Data::new(state.plans.clone()))
        .app_data(Data::new(Catalogue::new(events::catalogue())))
        .app_data(Data::from(state.documents.clone()))
        .app_data(Data::from(state.health.clone()));
}

/// An address that no route took. Known ones with other methods were refused at the front.
async fn unknown() -> Result<String, Error> {
    Err(ROUTE_NOT_FOUND.into())
}
