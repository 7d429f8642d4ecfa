//! Mails on their way out, to a mail server that the test runs itself.

mod leases;

use std::sync::{Arc, Mutex};

use guildhall::kernel::metrics;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::oneshot,
};

use crate::{
    identity::{PASSWORD, someone},
    world::World,
};

/// A mail server that keeps what it takes, and refuses what it was told to: each refusal once.
#[derive(Clone, Default)]
struct Server {
    refusals: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
    held: Arc<Mutex<Vec<Held>>>,
    given: Arc<Mutex<Vec<String>>>,
}

/// To whom a mail ends with this is answered when the test says how.
type Held = (String, oneshot::Receiver<&'static str>);

impl Server {
    /// A server, and a world that sends its mails there.
    async fn start() -> (Server, World) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let server = Server::default();
        let here = server.clone();
        actix_web::rt::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                actix_web::rt::spawn(here.clone().serve(socket));
            }
        });
        let world = World::with(&[("MAIL__TRANSPORT", "smtp"), ("MAIL__SMTP_URL", &url)]).await;
        // A database outlives its worlds: what others left on its way leaves first.
        world.run_jobs().await;
        server.given.lock().expect("no panic").clear();
        (server, world)
    }

    /// Answers this command so, once. `.` is the end of a mail's text.
    fn refuse(&self, command: &'static str, answer: &'static str) {
        self.refusals.lock().expect("no panic").push((command, answer));
    }

    /// Has the next mail to an address that ends so wait for the answer that is given here.
    fn hold(&self, to: &str) -> oneshot::Sender<&'static str> {
        let (answer, waits) = oneshot::channel();
        self.held.lock().expect("no panic").push((to.to_owned(), waits));
        answer
    }

    fn held(&self, mail: &str) -> Option<oneshot::Receiver<&'static str>> {
        let mut held = self.held.lock().expect("no panic");
        let place = held.iter().position(|(to, _)| header(mail, "To").ends_with(to))?;
        Some(held.remove(place).1)
    }

    /// The mails that were given to it, whatever it answered.
    fn given(&self) -> Vec<String> {
        self.given.lock().expect("no panic").clone()
    }

    fn refusal(&self, command: &str) -> Option<&'static str> {
        let mut refusals = self.refusals.lock().expect("no panic");
        let place = refusals.iter().position(|(refused, _)| *refused == command)?;
        Some(refusals.remove(place).1)
    }

    async fn serve(self, socket: TcpStream) -> Option<()> {
        let (read, mut write) = socket.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 mail.example\r\n").await.ok()?;
        while let Some(line) = lines.next_line().await.ok()? {
            let command = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            let answer = match self.refusal(&command) {
                Some(answer) => answer,
                None if command == "DATA" => {
                    write.write_all(b"354 go on\r\n").await.ok()?;
                    let mail = text(&mut lines).await?;
                    let held = self.held(&mail);
                    self.given.lock().expect("no panic").push(mail);
                    match held {
                        Some(answer) => answer.await.ok()?,
                        None => self.refusal(".").unwrap_or("250 taken"),
                    }
                }
                None => "250 mail.example",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        }
        Some(())
    }
}

async fn text(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<String> {
    let mut mail = String::new();
    loop {
        match lines.next_line().await.ok()?? {
            line if line == "." => return Some(mail),
            line => mail += &format!("{line}\n"),
        }
    }
}

fn header<'a>(mail: &'a str, name: &str) -> &'a str {
    let found = mail.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    found.unwrap_or_else(|| panic!("no {name} in {mail}"))
}

/// Somebody signs up, and the mail's job is done once.
async fn sign_up(world: &World) -> String {
    let email = world.email("ann");
    let body = json!({ "email": email, "password": PASSWORD });
    world.anonymous().post("/auth/register", body).await.accepted();
    world.run_jobs().await;
    email
}

/// How many mails to that address are in that state, and whether what they said is kept.
fn stand(world: &World, email: &str, state: &str, kept: bool) -> i64 {
    let sealed = if kept { "NOT NULL" } else { "NULL" };
    world.count(&format!(
        "SELECT count(*) FROM guildhall.mails WHERE recipient = '{email}' AND state = '{state}' AND data_sealed IS {sealed}"
    ))
}

#[actix_web::test]
async fn a_mail_leaves_once_and_what_it_said_is_forgotten() {
    let (server, world) = Server::start().await;
    let email = sign_up(&world).await;
    world.run_jobs().await;
    let given = server.given();
    assert_eq!(given.len(), 1);
    assert_eq!(header(&given[0], "To"), email);
    assert_eq!(header(&given[0], "From"), "Guildhall <no-reply@localhost>");
    assert!(header(&given[0], "Message-ID").starts_with("<eml_"), "{}", given[0]);
    assert!(!header(&given[0], "Subject").is_empty() && given[0].contains("gld_test_ot_"));
    assert_eq!(stand(&world, &email, "sent", false), 1);
}

#[actix_web::test]
async fn a_mail_that_is_given_twice_is_the_same_one() {
    let (server, world) = Server::start().await;
    // The server has it, and its answer says that it has not.
    server.refuse(".", "451 later");
    let email = sign_up(&world).await;
    assert_eq!((server.given().len(), stand(&world, &email, "queued", true)), (1, 1));
    world.run_jobs().await;
    assert_eq!(server.given().len(), 1, "not at once");
    world.clock.advance(chrono::Duration::seconds(61));
    world.run_jobs().await;
    let given = server.given();
    assert_eq!(given.len(), 2);
    assert_eq!(header(&given[0], "Message-ID"), header(&given[1], "Message-ID"));
    assert_eq!(stand(&world, &email, "sent", false), 1);
}

#[actix_web::test]
async fn what_has_left_is_written_down_though_the_database_has_no_time_at_first() {
    let (server, world) = Server::start().await;
    let _undo = world.refuses(3, "mails", "new.state = 'sent'");
    let email = sign_up(&world).await;
    assert!(world.has_refused(3));
    assert_eq!(stand(&world, &email, "sent", false), 1);
    world.run_jobs().await;
    assert_eq!(server.given().len(), 1);
}

#[actix_web::test]
async fn a_recipient_who_is_refused_is_not_tried_again() {
    let (server, world) = Server::start().await;
    server.refuse("RCPT", "550 5.1.1 no such user");
    let email = sign_up(&world).await;
    assert_eq!(stand(&world, &email, "dead", false), 1);
    assert!(world.deployment.mailer.standing().is_up(), "of that one alone");
    world.clock.advance(chrono::Duration::days(1));
    world.run_jobs().await;
    assert!(server.given().is_empty());
}

#[actix_web::test]
async fn a_server_that_refuses_us_does_not_end_the_mail() {
    for (command, answer) in [
        ("EHLO", "554 5.7.1 not today"),
        ("MAIL", "530 5.7.0 authenticate first"),
        ("MAIL", "553 5.7.1 the sender's address is not yours"),
        ("MAIL", "550 5.1.8 no such sender"),
        ("MAIL", "552 5.2.2 the sender's mailbox is full"),
        ("RCPT", "550 5.7.1 relaying is not for you"),
        ("RCPT", "550 no"),
    ] {
        let (server, world) = Server::start().await;
        server.refuse(command, answer);
        let email = sign_up(&world).await;
        assert_eq!(stand(&world, &email, "queued", true), 1, "{answer}");
        assert!(!world.deployment.mailer.standing().is_up(), "{answer}");
        world.clock.advance(chrono::Duration::minutes(1));
        world.run_jobs().await;
        assert_eq!(
            (server.given().len(), stand(&world, &email, "sent", false)),
            (1, 1),
            "{answer}"
        );
        assert!(world.deployment.mailer.standing().is_up());
    }
}

#[actix_web::test]
async fn after_three_days_a_mail_is_given_up() {
    let (server, world) = Server::start().await;
    for _ in 0..2 {
        server.refuse("RCPT", "451 later");
    }
    let email = sign_up(&world).await;
    world.clock.advance(chrono::Duration::hours(73));
    world.run_jobs().await;
    assert_eq!(stand(&world, &email, "dead", false), 1);
    world.clock.advance(chrono::Duration::days(1));
    world.run_jobs().await;
    assert!(server.given().is_empty());
}

#[actix_web::test]
async fn a_mail_that_is_given_up_is_counted_whoever_forgot_what_it_said() {
    let (server, world) = Server::start().await;
    let person = someone(&world).await;
    // No other test has a mail of this kind die.
    let dead = || metrics::MAIL.with_label_values(&["password_reset", "dead"]).get();
    let before = dead();
    server.refuse("RCPT", "451 later");
    let wish = json!({ "email": person.email });
    world.anonymous().post("/auth/password/forgot", wish).await.accepted();
    world.run_jobs().await;
    let waits = format!("recipient = '{}' AND template = 'password_reset'", person.email);
    // As the sweep leaves it, which comes before the next try.
    world.admin(&format!("UPDATE guildhall.mails SET data_sealed = NULL WHERE {waits}"));
    world.clock.advance(chrono::Duration::hours(73));
    world.run_jobs().await;
    let died = format!("SELECT count(*) FROM guildhall.mails WHERE {waits} AND state = 'dead'");
    assert_eq!((world.count(&died), dead() - before), (1, 1));
}
