//! Which jobs a process does, who follows events, and the chores.

use crate::{
    app::{boot::Deployment, events},
    features::{
        licenses, machines,
        providers::Providers,
        runs,
        store::{self, Looker, Secrets},
        webhooks,
    },
    kernel::{
        audit, inbox,
        jobs::{Lane, Runner, Worker},
        mail,
        outbox::{Catalogue, Relay},
        plans, upkeep,
    },
};

/// Everything that is done after a commit, not yet started. Tests drive it turn by turn.
pub fn runner(deployment: &Deployment) -> Runner {
    let mut runner = Runner::new(deployment.db.clone());
    runner.at_once(Lane::Steps, deployment.config.worker.concurrency);
    let mut relay = Relay::new(deployment.db.clone());
    mail::register(&mut runner, &deployment.mailer, &deployment.keyring, &deployment.db);
    webhooks::register(
        &mut runner,
        &mut relay,
        &deployment.outbound,
        &deployment.limits,
        &deployment.keyring,
        Catalogue::new(events::catalogue()),
    );
    licenses::register(&mut runner);
    machines::register(&mut runner, &mut relay);
    runs::register(
        &mut runner,
        Providers {
            sandbox: deployment.config.runs.sandbox,
        },
    );
    let secrets = Secrets {
        platform: deployment.config.stripe.secret_key.clone(),
        keyring: deployment.keyring.clone(),
        key_mode: deployment.config.auth.key_mode,
    };
    let looker = Looker::new(
        deployment.db.clone(),
        deployment.stripe.clone(),
        secrets,
        deployment.peppers.clone(),
    );
    store::register(&mut runner, &mut relay, &looker);
    runner.relay(relay);
    audit::register(&mut runner, &deployment.db, &deployment.keys);
    inbox::register(&mut runner, &deployment.db);
    plans::register(&mut runner, &deployment.db);
    upkeep::register(&mut runner, &deployment.db);
    runner
}

/// Starts doing it.
///
/// # Errors
/// No thread can be made for the leases.
pub fn start(deployment: &Deployment) -> anyhow::Result<Worker> {
    Ok(runner(deployment).start()?)
}
