//! The mounted slices, in reading order, and the server around them.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::Server,
    guard::fn_guard,
    middleware::from_fn,
    web::{self, Data},
};
use anyhow::Result;
use utoipa_actix_web::{AppExt, scope::scope, service_config::ServiceConfig};

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
///
/// What an address begins with decides which routes it is compared with: the router tries them one after another.
pub fn slices(routes: &mut ServiceConfig) {
    under(routes, &["auth", "me"], identity::routes);
    under(
        routes,
        &["workspace", "workspaces", "members", "roles", "permissions"],
        workspaces::routes,
    );
    under(routes, &["api-keys"], api_keys::routes);
    under(routes, &["audit-entries", "audit-checkpoints"], audit::routes);
    under(routes, &["inbox"], inbox::routes);
    under(routes, &["products"], products::routes);
    under(routes, &["entitlements"], entitlements::routes);
    under(routes, &["policies"], policies::routes);
    under(routes, &["customers"], customers::routes);
    under(routes, &["licenses", "machines"], |routes| {
        licenses::routes(routes);
        machines::routes(routes);
    });
    under(
        routes,
        &["webhook-endpoints", "webhook-deliveries", "event-types"],
        webhooks::routes,
    );
    under(routes, &["agents", "runs", "executions"], |routes| {
        agents::routes(routes);
        runs::routes(routes);
    });
    under(routes, &["billing", "plans"], billing::routes);
}

/// Mounts routes for the operations of these resources below `/api/v1`. The front door found out which operation a request is for: what it
/// does not know reaches no handler here.
fn under(routes: &mut ServiceConfig, resources: &'static [&'static str], slices: impl FnOnce(&mut ServiceConfig)) {
    let ours = fn_guard(move |context| {
        let data = context.req_data();
        let let_in = data.get::<front::LetIn>();
        let_in.is_some_and(|let_in| resources.contains(&let_in.operation.resource))
    });
    routes.service(scope("/api/v1").guard(ours).configure(slices));
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
        .configure(slices)
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
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let workers = match deployment.config.server.workers {
        0 => cores,
        chosen => chosen,
    };
    let socket = bounded(socket, STALLED)?;
    actix_web::rt::spawn(memory::give_back());
    actix_web::rt::spawn(deployment.keys.clone().keep());
    actix_web::rt::spawn(deployment.doorkeeper.clone().into_inner().keep());
    actix_web::rt::spawn(deployment.refusals.clone().keep());
    let server = HttpServer::new(move || {
        let state = deployment.clone();
        App::new()
            .into_utoipa_app()
            .configure(slices)
            .configure(roots)
            .into_app()
            .configure(|config| share(config, &state))
            .configure(more.clone())
            .default_service(web::to(unknown))
            .wrap(from_fn(front::front))
    })
    .workers(workers)
    // The gate has its own; passwords are hashed on these, and a few things of little moment wait there.
    .worker_max_blocking_threads(cores + 8)
    .client_request_timeout(Duration::from_secs(5))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(REQUESTS.as_secs())
    .max_connections(4_000)
    .disable_signals()
    .listen(socket)?
    .run();
    Ok(server)
}

/// How long a server that ends waits for the requests that it has.
pub(super) const REQUESTS: Duration = Duration::from_secs(30);

/// How long a caller's window may be shut, or nothing be acknowledged. A reader opens its window again only when a part of its buffer is free,
/// some hundred kilobytes at most: who reads slowly needs a while for that, and is not hung up on above some three kilobytes a second.
pub const STALLED: Duration = Duration::from_secs(120);

/// Has the kernel end connections whose other end takes nothing any more: the server itself would wait for ever. Accepted connections
/// inherit it (tcp(7), `TCP_USER_TIMEOUT`); systems other than Linux have no such thing.
fn bounded(socket: TcpListener, longest: Duration) -> Result<TcpListener> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(longest))?;
    #[cfg(not(target_os = "linux"))]
    let _ = longest;
    Ok(socket)
}

/// What handlers ask for.
fn share(config: &mut web::ServiceConfig, state: &Deployment) {
    config
        .app_data(state.front.clone())
        .app_data(state.doorkeeper.clone())
        .app_data(state.identity.clone())
        .app_data(Data::new(state.keys.clone()))
        .app_data(Data::new(state.config.auth.clone()))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::Instant,
    };

    use super::*;

    #[test]
    fn who_takes_nothing_of_an_answer_is_hung_up_on_and_who_takes_it_slowly_is_not() {
        // Long enough that a machine with much else to do is not taken for a reader who takes nothing.
        let longest = Duration::from_secs(4);
        let run = |takes: usize, ends: bool| {
            let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            let socket = bounded(socket, longest).expect("bounded");
            let mut reader = TcpStream::connect(socket.local_addr().expect("an address")).expect("connected");
            let (mut writer, _) = socket.accept().expect("accepted");
            writer
                .set_write_timeout(Some(Duration::from_millis(100)))
                .expect("a timeout");
            let begun = Instant::now();
            let mut wrong = None;
            while wrong.is_none() && begun.elapsed() < (if ends { longest * 10 } else { longest * 2 }) {
                match writer.write(&[0; 1 << 16]) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        // As much as it takes each tenth of a second.
                        if takes > 0 {
                            let taken = reader.read(&mut vec![0; takes]).expect("it is there");
                            assert!(taken > 0);
                        }
                    }
                    Err(error) => wrong = Some(error),
                    Ok(_) => {}
                }
            }
            assert_eq!(wrong.is_some(), ends, "{wrong:?} after {:?}", begun.elapsed());
        };
        std::thread::scope(|both| {
            both.spawn(|| run(0, true));
            both.spawn(|| run(1 << 20, false));
        });
    }
}
