//! The embedded development stack: servers of its own, for a machine of one's own and for the tests.

mod console;
mod home;
mod hooks;
mod leash;
pub mod postgres;
pub mod redis;
mod running;
mod secrets;
mod seed;
mod stack;
#[cfg(feature = "stripe-stub")]
pub mod stripe;

use std::{
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::web::Data;
use anyhow::{Context, Result, anyhow, ensure};
use tokio::time::timeout;

pub use home::Home;

use self::{
    running::{Lock, Running, Till},
    secrets::Secrets,
    stack::Stack,
};
use crate::{
    app::{
        admin, api,
        boot::Deployment,
        cli,
        end::{self, End},
        guard, worker,
    },
    kernel::{
        clock::Clock,
        config::{Config, Environment},
        http::front,
        mail, telemetry,
    },
};

/// What helps where data are there and what opens them is not.
const WAY_OUT: &str = "if the secrets of this stack were lost or changed, nobody can read its data any more, and `guildhall dev --reset` starts over (a \
     database that DATABASE_URL names has to be dropped first)";

/// How long its end may take, with everything that ends in order. Whatever is left then ends by itself, as after a `kill -9`.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long requests may take that are under way at the end.
const REQUESTS: Duration = Duration::from_secs(3);

/// What `guildhall dev` can be asked for.
#[derive(clap::Args)]
pub struct Options {
    /// Throw away data and secrets, and start over.
    #[arg(long)]
    reset: bool,
    /// Throw away data and secrets, and start nothing.
    #[arg(long, conflicts_with_all = ["reset", "port"])]
    remove: bool,
    /// Only tell whether it runs, and where.
    #[arg(long, conflicts_with_all = ["reset", "remove", "port"])]
    status: bool,
    /// The port of the API on 127.0.0.1; 0 takes a free one. Without it, 8080 or the next free one.
    #[arg(long)]
    port: Option<u16>,
}

/// Runs the development stack of the folder `.guildhall/`, or of the one that `GUILDHALL_HOME` names, until a signal ends it.
///
/// # Errors
/// What could not be started, with the reason and what to do about it.
pub fn run(options: &Options) -> Result<()> {
    let home = Home::find()?;
    if options.status {
        return status(&home);
    }
    let begun = Instant::now();
    if options.remove && !home.is_used() {
        console::note("there is nothing to remove");
        return Ok(());
    }
    if options.reset || options.remove {
        ensure!(
            Config::of(Environment::Development, stack::given()?)?
                .database
                .admin_url
                .is_none(),
            "this would lose the keys of a database that DATABASE_URL (database.admin_url) names elsewhere: name none, or drop that database first"
        );
    }
    let _lock = Lock::take(&home)?;
    if options.reset || options.remove {
        home.remove()?;
        if options.remove {
            Lock::forget(&home);
            console::done("removed what the stack kept", begun);
            return Ok(());
        }
        home.make()?;
        console::done("started over", begun);
    }
    let secrets = Secrets::of(&home)?;
    let stack = stack::prepare(&home, &secrets, options.port)?;
    let served = serve(&home, secrets, stack, begun);
    Running::forget(&home);
    served
}

/// Says whether the stack of a folder runs. Not running is an error, so that scripts can ask.
fn status(home: &Home) -> Result<()> {
    let held = Lock::is_made(home) && Lock::try_take(home)?.is_none();
    let running = Running::read(home).filter(|_| held);
    let it = running.context("it does not run here; `make run` or `guildhall dev` starts it")?;
    let mut lines = it.lines();
    lines.extend([
        ("metrics", format!("{}/metrics", it.admin_url)),
        ("PostgreSQL", it.database),
        ("Redis", it.redis.unwrap_or_else(|| "none".into())),
        ("process", it.process.to_string()),
    ]);
    Ok(cli::print_line(&console::table("Guildhall runs.", &lines))?)
}

/// Serves everything in this one process, until a signal.
fn serve(home: &Home, mut secrets: Secrets, stack: Stack, begun: Instant) -> Result<()> {
    let _reporting = telemetry::start(&stack.config)?;
    let mut end = End::at_a_terminal(PATIENCE)?;
    actix_web::rt::System::new().block_on(async move {
        let deployment = Arc::new(Deployment::new(stack.config.clone(), Clock::system())?);
        #[cfg(feature = "stripe-stub")]
        start_stripe(home, &secrets, &stack)?;
        let hooks = Data::new(hooks::Hooks::default());
        let server = api::serve_with(deployment.clone(), stack.socket.try_clone()?, move |config| {
            config
                .app_data(front::Development)
                .app_data(hooks.clone())
                .configure(hooks::routes)
                .configure(mail::routes);
        })?;
        let handle = server.handle();
        let serving = actix_web::rt::spawn(server);
        actix_web::rt::spawn(admin::serve(deployment.clone(), stack.admin_socket.try_clone()?)?);
        let mut worker = None;
        let start = async {
            guard::may_work(&deployment.db, false).await?;
            let prepared = deployment.prepare().await;
            prepared.map_err(|error| anyhow!("{error:#}; {WAY_OUT}"))?;
            worker = Some(worker::start(&deployment)?);
            deployment.readiness.booted();
            deployment.write_documents();
            introduce(home, &mut secrets, &stack, &deployment).await
        };
        let running = tokio::select! {
            running = start => Some(running?),
            () = end.asked() => None,
        };
        if let Some(running) = running {
            // It serves, whoever reads that.
            let _unread = cli::print(console::table("Guildhall runs.", &running.lines()).as_bytes());
            running.keep(home)?;
            console::done("ready; Ctrl-C stops everything", begun);
            end.asked().await;
        }
        console::note("stopping");
        deployment.readiness.drain();
        deployment.readiness.close();
        end.waits_for("requests");
        let _ = timeout(REQUESTS, handle.stop(true)).await;
        serving.abort();
        end.waits_for("refusals that the audit log lacks");
        deployment.refusals.flush().await;
        if let Some(worker) = worker {
            end.waits_for("jobs, and leases to be given back");
            worker.drain(Duration::from_secs(2)).await;
        }
        end.waits_for("the stack's own servers, which end by themselves");
        drop(stack);
        end::let_go_of_threads(deployment.db.gate()).await;
        Ok(())
    })
}

/// Makes sure that there is somebody to be and something to look at, and says where everything is.
async fn introduce(home: &Home, secrets: &mut Secrets, stack: &Stack, deployment: &Deployment) -> Result<Running> {
    let begun = Instant::now();
    let seeded = seed::seed(deployment, home, secrets, &stack::address(&stack.socket)?).await;
    match &seeded {
        Ok(it) => console::done(
            &format!("an administrator, and the demo workspace {}", it.workspace),
            begun,
        ),
        // A database of somebody's own, which `DATABASE_URL` names, may have an owner already.
        Err(error) => console::note(&format!("there is no demonstration: {error:#}")),
    }
    Ok(Running {
        process: process::id(),
        url: stack.config.server.public_url.clone(),
        admin_url: stack::address(&stack.admin_socket)?,
        database: stack.database.expose().clone(),
        redis: stack.redis_url.as_ref().map(|url| url.expose().clone()),
        stripe: till(stack, secrets)?,
        demonstration: seeded.ok(),
    })
}

/// Where the Stripe of the stack is, if it has one.
fn till(stack: &Stack, secrets: &Secrets) -> Result<Option<Till>> {
    let (Some(socket), Some(key)) = (&stack.stripe_socket, &stack.config.stripe.secret_key) else {
        return Ok(None);
    };
    Ok(Some(Till {
        url: stack::address(socket)?,
        key: key.expose().clone(),
        webhook_secret: secrets.stripe_webhook.clone(),
    }))
}

/// The Stripe of the stack: an account that survives restarts, and tells the API what happens in it.
#[cfg(feature = "stripe-stub")]
fn start_stripe(home: &Home, secrets: &Secrets, stack: &Stack) -> Result<()> {
    let Some(socket) = &stack.stripe_socket else {
        return Ok(());
    };
    let url = stack::address(&stack.socket)?;
    let clock = Clock::system();
    let stub = stripe::Stub::kept(Arc::new(move || clock.now()), home.stack("stripe.json"))?;
    stub.forget_receivers();
    stub.listen(&format!("{url}/api/v1/inbox/stripe/platform"), &secrets.stripe_webhook);
    stub.stock(&crate::kernel::plans::SEEDS)
        .map_err(|refusal| anyhow::anyhow!("the Stripe stub takes no stock: {}", refusal.body))?;
    let (_, server) = stub.serve(socket.try_clone()?)?;
    actix_web::rt::spawn(server);
    actix_web::rt::spawn(stub.deliver_forever());
    Ok(())
}
