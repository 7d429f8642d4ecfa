//! Workers that did not hear what became of their mail, and workers whose mail became somebody else's: what they say of it, and what is counted.

use std::{
    fmt::Debug,
    sync::{Arc, LazyLock, Mutex},
};

use futures_util::join;
use guildhall::{
    app::worker,
    kernel::{
        jobs::{self, JobContext, Lane, Runner},
        mail::{self, NewMail, Template},
        metrics,
    },
};
use serde_json::json;
use tracing::{Dispatch, Event, Subscriber, field::Field, subscriber::DefaultGuard};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Context, SubscriberExt},
    registry,
};
use uuid::Uuid;

use super::{Server, header, stand};
use crate::{
    queue::want,
    world::{World, until},
};

/// Queues a mail of a template that nothing else sends, so that what is counted of it is the test's own. Answers for whom it is.
async fn queued(world: &World, template: Template, name: &str) -> String {
    let (keyring, email) = (world.deployment.keyring.clone(), world.email(name));
    let mut runner = Runner::new(world.deployment.db.clone());
    let to = email.clone();
    runner.on("test.mails", Lane::System, move |context: JobContext| {
        let (keyring, to, job) = (keyring.clone(), to.clone(), context.job.clone());
        async move {
            let queues = context.db.tenant(context.scope(), move |tx| {
                let wanted = NewMail {
                    template,
                    to: &to.parse().expect("an address"),
                    locale: "en",
                    dedupe_key: &to,
                    data: json!({ "workspace": "Acme", "inviter": "Ann", "role": "member", "days": 7, "event": "run.completed",
                        "link": "https://app.example.com", "url": "https://hooks.example.com", "reason": "it is gone" }),
                };
                mail::send(tx, &keyring, &wanted)?;
                jobs::finish(tx, &job)
            });
            queues.await
        }
    });
    want(world, "system", "test.mails", Uuid::new_v4());
    runner.turn().await.expect("a turn");
    assert_eq!(stand(world, &email, "queued", true), 1);
    email
}

/// How many mails of a template were sent, died and were put off from here on.
fn counted(template: Template) -> impl Fn() -> [u64; 3] {
    let all =
        move || ["sent", "dead", "retried"].map(|how| metrics::MAIL.with_label_values(&[template.name(), how]).get());
    let before = all();
    move || {
        let now = all();
        [0, 1, 2].map(|n| now[n] - before[n])
    }
}

/// How the jobs that send mails ended.
fn of_mails(jobs: &[(&'static str, &'static str)]) -> Vec<&'static str> {
    let mails = jobs.iter().filter(|(kind, _)| *kind == mail::KIND);
    mails.map(|(_, how)| *how).collect()
}

/// The errors about mails that are logged by this thread, which does the jobs of its test and of no other.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl Errors {
    fn listen() -> (Errors, DefaultGuard) {
        // While there is one listener only, what a thread without any comes by first is switched off for all.
        static BESIDE: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry().with(LevelFilter::OFF)));
        LazyLock::force(&BESIDE);
        let errors = Errors::default();
        let log = registry().with(errors.clone()).with(LevelFilter::ERROR);
        (errors, tracing::subscriber::set_default(log))
    }

    fn told(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

impl<S: Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| line += &format!("{field}={value:?} "));
        if line.contains("a mail ") {
            self.0.lock().expect("no panic").push(line);
        }
    }
}

#[actix_web::test]
async fn an_end_that_nobody_heard_of_is_one() {
    // That one is refused is nobody's to mend.
    for (end, given, tally, told) in [
        ("it leaves", 1, [1, 0, 0], 0),
        ("it is refused", 0, [0, 1, 0], 0),
        ("its job is given up", 0, [0, 1, 0], 1),
    ] {
        let (server, world) = Server::start().await;
        let email = queued(&world, Template::INVITATION, "ann").await;
        match end {
            "it is refused" => server.refuse("RCPT", "550 5.1.1 no such user"),
            "its job is given up" => world.admin("UPDATE guildhall.run_queue SET recoveries = 6"),
            _ => {}
        }
        let counted = counted(Template::INVITATION);
        let (errors, _listening) = Errors::listen();
        let (between, far) = world.half_deaf("UPDATE \"mails\" SET \"state\"");
        let (_, jobs) = worker::runner(&far).turn_told().await.expect("a turn");
        assert!(between.has_kept(), "{end}");
        assert_eq!(of_mails(&jobs), ["done"], "{end}");
        assert_eq!(server.given().len(), given, "{end}: it left once, or never");
        let state = if given == 1 { "sent" } else { "dead" };
        assert_eq!(stand(&world, &email, state, false), 1, "{end}");
        assert_eq!(counted(), tally, "{end}");
        let errors = errors.told();
        let of_dead = errors.iter().filter(|line| line.contains("a mail cannot be sent"));
        assert_eq!((of_dead.count(), errors.len()), (told, told), "{end}: {errors:?}");
    }
}

#[actix_web::test]
async fn a_delay_that_nobody_heard_of_is_one() {
    let (server, world) = Server::start().await;
    let email = queued(&world, Template::WEBHOOK_DISABLED, "ann").await;
    let counted = counted(Template::WEBHOOK_DISABLED);
    server.refuse("RCPT", "451 later");
    let (between, far) = world.half_deaf("job_retry(");
    let (_, jobs) = worker::runner(&far).turn_told().await.expect("a turn");
    assert!(between.has_kept());
    assert_eq!(of_mails(&jobs), ["done"]);
    assert_eq!((stand(&world, &email, "queued", true), counted()), (1, [0, 0, 1]));
    world.run_jobs().await;
    assert!(server.given().is_empty(), "not at once");
    world.clock.advance(chrono::Duration::seconds(61));
    world.run_jobs().await;
    assert_eq!((server.given().len(), stand(&world, &email, "sent", false)), (1, 1));
    assert_eq!(counted(), [1, 0, 1]);
}

/// A worker has two mails, and loses both to another one while the server keeps it waiting for an answer about the first. The other one is
/// either done with both by then, or it still waits for an answer about the second, which the late one takes without a lease.
async fn overtaken(answer: &'static str, amid: bool) {
    let (server, world) = Server::start().await;
    let emails = [
        queued(&world, Template::WEBHOOK_EXHAUSTED, "ann").await,
        queued(&world, Template::WEBHOOK_EXHAUSTED, "bob").await,
    ];
    let (counted, fenced) = (counted(Template::WEBHOOK_EXHAUSTED), metrics::STEP_FENCED.get());
    let (errors, _listening) = Errors::listen();
    let [late, heir] = [(); 2].map(|()| worker::runner(&world.deployment));
    let given_to = |email: &String| server.given().iter().filter(|mail| header(mail, "To") == email).count();
    let first = server.hold("");
    let overtaking = async {
        until("the server has one of them", || server.given().len() == 1).await;
        heir.expire_leases().await.expect("expired");
        if !amid {
            let (_, jobs) = heir.turn_told().await.expect("a turn");
            assert_eq!(of_mails(&jobs), ["done", "done"]);
            return first.send(answer).expect("somebody waits");
        }
        let second = emails.iter().find(|email| given_to(email) == 0).expect("the other one");
        let [heirs, lates] = [(); 2].map(|()| server.hold(second));
        let answering = async {
            until("the server has the other one", || given_to(second) == 1).await;
            first.send(answer).expect("somebody waits");
            until("the server has it twice", || given_to(second) == 2).await;
            heirs.send("250 taken").expect("somebody waits");
        };
        let (jobs, ()) = join!(heir.turn_told(), answering);
        assert_eq!(of_mails(&jobs.expect("a turn").1), ["done", "done"]);
        lates.send(answer).expect("somebody waits");
    };
    let (jobs, ()) = join!(late.turn_told(), overtaking);
    assert_eq!(of_mails(&jobs.expect("a turn").1), ["lost", "lost"], "{answer} {amid}");
    assert_eq!(server.given().len(), if amid { 4 } else { 3 });
    assert_eq!(emails.map(|email| stand(&world, &email, "sent", false)), [1, 1]);
    assert_eq!(counted(), [2, 0, 0], "{answer} {amid}");
    assert_eq!(errors.told(), Vec::<String>::new(), "{answer} {amid}");
    assert!(metrics::STEP_FENCED.get() >= fenced + 2);
}

#[actix_web::test]
async fn whoever_lost_a_mail_to_another_worker_has_no_say_in_how_it_ends() {
    for answer in ["250 taken", "550 5.1.1 no such user", "451 later"] {
        for amid in [false, true] {
            overtaken(answer, amid).await;
        }
    }
}
