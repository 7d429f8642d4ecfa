//! How a mail leaves: by SMTP, or into a mailbox that keeps it for whoever looks.

use std::{
    collections::VecDeque,
    error::Error as _,
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
    transport::smtp,
};
use serde::Serialize;

use super::{Address, render::Rendered};
use crate::kernel::{
    config::{self, MailTransport},
    id::MailId,
    standing::Standing,
};

/// What sends mails.
#[derive(Clone)]
pub struct Mailer {
    from: Sender,
    road: Road,
    patience: Duration,
    standing: Standing,
}

#[derive(Clone)]
enum Road {
    /// For as long as the process lives: its connections can only be given up inside a runtime, and a process that refuses to boot is
    /// outside of one.
    Smtp(&'static AsyncSmtpTransport<Tokio1Executor>),
    Mailbox(Mailbox),
}

/// Why a mail did not leave, without the server's own words: they repeat whom it was for.
#[derive(Debug, PartialEq)]
pub(super) enum Undelivered {
    /// It will never leave: the server refuses the recipient.
    Refused(String),
    /// It will never leave: there is something wrong with it.
    Broken(String),
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
        Ok(Mailer {
            from,
            road,
            patience: PATIENCE,
            standing: Standing::default(),
        })
    }

    /// How it stands with the mail server.
    pub fn standing(&self) -> &Standing {
        &self.standing
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
                    .map_err(|_| Undelivered::Broken("the mail could not be put together".into()))?;
                let sent = tokio::time::timeout(self.patience, smtp.send(message)).await;
                self.standing
                    .note(matches!(&sent, Ok(sent) if sent.as_ref().err().is_none_or(is_of_the_mail)));
                match sent {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(undelivered(&error)),
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

/// What a server says of a recipient for good, as subject and detail (RFC 3463): no such mailbox, no such domain, no address at all, a domain
/// that takes no mail. Whatever else it refuses, it may as well refuse *us*: the sender's address or mailbox, our account, our machine.
const OF_RECIPIENTS: [&str; 4] = ["1.1", "1.2", "1.3", "1.10"];

/// Whether the server is there for us, and says something of this recipient, or that it has no time.
fn is_of_the_mail(error: &smtp::Error) -> bool {
    error.is_transient() || is_of_the_recipient(error)
}

/// Whether the server refuses the recipient for good. The same numbers answer the sender's address and the recipient's, so only the enhanced
/// ones tell.
fn is_of_the_recipient(error: &smtp::Error) -> bool {
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    let first = said.split_whitespace().next().unwrap_or_default();
    let detail = first.strip_prefix("5.");
    error.is_permanent() && detail.is_some_and(|detail| OF_RECIPIENTS.contains(&detail))
}

/// What an error of the mail server means for the mail.
fn undelivered(error: &smtp::Error) -> Undelivered {
    match error.status().map(|code| code.to_string()) {
        Some(code) if is_of_the_recipient(error) => Undelivered::Refused(format!("the mail server answered {code}")),
        Some(code) => Undelivered::ForNow(format!("the mail server answered {code}")),
        None if error.is_timeout() => Undelivered::ForNow("the mail server took too long".into()),
        None if error.is_tls() => Undelivered::ForNow("the connection to the mail server could not be secured".into()),
        None => Undelivered::ForNow("the mail server could not be reached, or made no sense".into()),
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
mod tests;
