use std::time::Instant;

use tokio::net::TcpListener;

use super::*;
use crate::kernel::id::Id;

const ID: MailId = Id::from_uuid(uuid::Uuid::from_u128(7));

fn mailer(smtp_url: &str, patience: Duration) -> Mailer {
    let config = config::Mail {
        transport: MailTransport::Smtp,
        from: "Guildhall <no-reply@example.com>".into(),
        smtp_url: Some(crate::kernel::secret::Secret::new(smtp_url.into())),
    };
    Mailer {
        patience,
        ..Mailer::new(&config).expect("a mailer")
    }
}

fn mail(subject: &str) -> Rendered {
    Rendered {
        subject: subject.into(),
        text: "text".into(),
        html: "<p>html</p>".into(),
    }
}

/// The head of a mail as it would leave, line by line.
fn head(subject: &str) -> Vec<String> {
    let to = "ann@example.com".parse().expect("an address");
    let message = mailer("smtp://127.0.0.1:9", PATIENCE).message(format!("<{ID}@example.com>"), &to, mail(subject));
    let text = String::from_utf8(message.expect("well-formed").formatted()).expect("ASCII");
    let (head, _) = text.split_once("\r\n\r\n").expect("a head and a body");
    head.split("\r\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn a_message_is_well_formed_and_named_after_its_row() {
    let head = head("Größe");
    for line in [
        &format!("Message-ID: <{ID}@example.com>") as &str,
        "To: ann@example.com",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(head.iter().any(|found| found == line), "{line} in {head:?}");
    }
    assert!(
        head.iter()
            .any(|line| line.starts_with("Content-Type: multipart/alternative"))
    );
}

#[tokio::test]
async fn no_line_end_in_a_subject_begins_a_header() {
    for odd in [
        "One\r\nBcc: eve@evil.example",
        "One\nBcc: eve@evil.example",
        "One\rBcc: eve@evil.example",
        "One\0Two",
    ] {
        let head = head(odd);
        assert!(
            !head.iter().any(|line| line.to_lowercase().starts_with("bcc")),
            "{head:?}"
        );
        assert!(head.iter().all(|line| !line.contains(['\r', '\n', '\0'])), "{head:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_a_while() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("smtp://{}", silent.local_addr().expect("an address"));
    let begun = Instant::now();
    let sent = mailer(&url, Duration::from_millis(100))
        .send(
            ID,
            "any",
            &"ann@example.com".parse().expect("an address"),
            mail("One"),
            crate::kernel::clock::Clock::system().now(),
        )
        .await;
    assert_eq!(sent, Err(Undelivered::ForNow("the mail server took too long".into())));
    assert!(begun.elapsed() < PATIENCE / 4);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("smtp://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let mailer = mailer(&url, PATIENCE);
    assert!(mailer.standing().is_up(), "until something else is known");
    let sent = mailer
        .send(
            ID,
            "any",
            &"ann@example.com".parse().expect("an address"),
            mail("One"),
            crate::kernel::clock::Clock::system().now(),
        )
        .await;
    assert!(matches!(sent, Err(Undelivered::ForNow(_))), "{sent:?}");
    assert!(!mailer.standing().is_up());
}
