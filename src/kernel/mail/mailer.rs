//! How a mail leaves: by SMTP, or into a mailbox that keeps it for whoever looks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox as Sender, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use serde::Serialize;

use super::{Address, render::Rendered};
use crate::kernel::{
    config::{self, MailTransport},
    id::MailId,
};

/// What sends mails.
#[derive(Clone)]
pub struct Mailer {
    from: Sender,
    road: Road,
}

#[derive(Clone)]
enum Road {
    /// For as long as the process lives: its connections can only be given up inside a runtime, and a process that refuses to boot is
    /// outside of one.
    Smtp(&'static AsyncSmtpTransport<Tokio1Executor>),
    Mailbox(Mailbox),
}

/// Why a mail did not leave.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// It will never leave: the server refuses the recipient or the mail.
    ForGood(String),
    /// It may leave later.
    ForNow(String),
}

/// The whole of a delivery may take so long.
const PATIENCE: Duration = Duration::from_secs(20);

impl Mailer {
    /// The mailer of a configuration.
    ///
    /// # Errors
    /// A sender or an SMTP URL that cannot be read.
    pub fn new(config: &config::Mail) -> Result<Mailer> {
        let from = config.from.parse().context("mail.from is not an address")?;
        let road = match config.transport {
            MailTransport::Mailbox => Road::Mailbox(Mailbox::default()),
            MailTransport::Smtp => {
                let url = config.smtp_url.as_ref().context("mail.smtp_url is not set")?;
                let smtp = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())
                    .map_err(|_| anyhow::anyhow!("mail.smtp_url is not an smtp:// or smtps:// URL"))?;
                Road::Smtp(Box::leak(Box::new(smtp.timeout(Some(PATIENCE)).build())))
            }
        };
        Ok(Mailer { from, road })
    }

    /// The mailbox, where mails do not really leave.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match &self.road {
            Road::Mailbox(mailbox) => Some(mailbox),
            Road::Smtp(_) => None,
        }
    }

    pub(super) async fn send(
        &self,
        id: MailId,
        template: &str,
        to: &Address,
        mail: Rendered,
        now: DateTime<Utc>,
    ) -> Result<(), Undelivered> {
        let message_id = format!("<{id}@{}>", self.from.email.domain());
        match &self.road {
            Road::Mailbox(mailbox) => {
                mailbox.keep(Captured {
                    id,
                    message_id,
                    template: template.to_owned(),
                    from: self.from.to_string(),
                    to: to.to_string(),
                    subject: mail.subject,
                    text: mail.text,
                    html: mail.html,
                    sent_at: now,
                });
                Ok(())
            }
            Road::Smtp(smtp) => {
                let message = self
                    .message(message_id, to, mail)
                    .map_err(|error| Undelivered::ForGood(error.to_string()))?;
                match tokio::time::timeout(PATIENCE, smtp.send(message)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) if error.is_permanent() => Err(Undelivered::ForGood(error.to_string())),
                    Ok(Err(error)) => Err(Undelivered::ForNow(error.to_string())),
                    Err(_) => Err(Undelivered::ForNow("the mail server took too long".into())),
                }
            }
        }
    }

    fn message(&self, message_id: String, to: &Address, mail: Rendered) -> Result<Message> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Ok(Message::builder()
            .message_id(Some(message_id))
            .from(self.from.clone())
            .to(to.mailbox())
            .subject(mail.subject)
            .raw_header(HeaderValue::new(automatic, "auto-generated".into()))
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))?)
    }
}

/// A mail that was kept instead of sent.
#[derive(Clone, Debug, Serialize)]
pub struct Captured {
    pub id: MailId,
    pub message_id: String,
    pub template: String,
    pub from: String,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    #[serde(serialize_with = "crate::kernel::clock::millis")]
    pub sent_at: DateTime<Utc>,
}

/// Keeps the last thousand mails in memory. Copies are the same mailbox.
#[derive(Clone, Default)]
pub struct Mailbox(Arc<Mutex<VecDeque<Captured>>>);

/// So many mails are kept.
const KEPT: usize = 1_000;

impl Mailbox {
    fn keep(&self, mail: Captured) {
        let mut mails = self.0.lock().expect("no panic while a mail is kept");
        mails.push_front(mail);
        mails.truncate(KEPT);
    }

    /// Newest first; only those to an address, if one is named.
    pub fn mails(&self, to: Option<&str>) -> Vec<Captured> {
        let mails = self.0.lock().expect("no panic while a mail is kept");
        mails
            .iter()
            .filter(|mail| to.is_none_or(|to| mail.to.eq_ignore_ascii_case(to)))
            .cloned()
            .collect()
    }

    /// One of them.
    pub fn find(&self, id: MailId) -> Option<Captured> {
        let mails = self.0.lock().expect("no panic while a mail is kept");
        mails.iter().find(|mail| mail.id == id).cloned()
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        self.0.lock().expect("no panic while a mail is kept").clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::Id;

    #[test]
    fn a_message_is_well_formed_and_named_after_its_row() {
        let mailer = Mailer {
            from: "Guildhall <no-reply@example.com>".parse().expect("an address"),
            road: Road::Mailbox(Mailbox::default()),
        };
        let id: MailId = Id::from_uuid(uuid::Uuid::from_u128(7));
        let mail = Rendered {
            subject: "Größe".into(),
            text: "text".into(),
            html: "<p>html</p>".into(),
        };
        let to = "ann@example.com".parse().expect("an address");
        let message = mailer
            .message(format!("<{id}@example.com>"), &to, mail)
            .expect("well-formed");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        for line in [
            &format!("Message-ID: <{id}@example.com>") as &str,
            "To: ann@example.com",
            "Auto-Submitted: auto-generated",
            "Content-Type: multipart/alternative",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
