//! The job that sends a mail: load, send, record.

use std::{sync::Arc, time::Duration};

use super::{
    Address, Mailer, Template,
    mailer::Undelivered,
    place, queries,
    render::{Rendered, render},
};
use crate::kernel::{
    access::Call,
    crypto::Keyring,
    db::Db,
    error::Result,
    id::{Id, MailId, RequestId},
    jobs::{self, JobContext, Lane, Runner, finish, retry},
    metrics,
};

/// What the job is called.
pub const KIND: &str = "mail.send";

/// A mail that has not left by then never will.
const GIVEN_UP: chrono::Duration = chrono::Duration::hours(72);

/// Delays after failures; the last one repeats.
const SCHEDULE: [i64; 6] = [60, 300, 900, 3_600, 10_800, 21_600];

/// Sends mails in this process.
pub fn register(runner: &mut Runner, mailer: &Mailer, keyring: &Arc<Keyring>, db: &Db) {
    let (mailer, keyring) = (mailer.clone(), keyring.clone());
    runner.at_once(Lane::Mail, 4);
    runner.on(KIND, Lane::Mail, move |job| send(job, mailer.clone(), keyring.clone()));
    runner.when_given_up(KIND, give_up);
    let db = db.clone();
    runner.every(Duration::from_secs(3_600), "mail.forget", move || forget(db.clone()));
}

/// A mail that is ready to leave.
struct Ready {
    id: MailId,
    template: String,
    to: Address,
    mail: Rendered,
    tries: i32,
    late: bool,
}

async fn send(context: JobContext, mailer: Mailer, keyring: Arc<Keyring>) -> Result<()> {
    let id: MailId = Id::from_uuid(context.job.id.0);
    let ready = context
        .db
        .tenant(context.scope(), move |tx| load(tx, id, &keyring))
        .await?;
    let Some(ready) = ready else {
        return end(&context, id, End::Dead("there is nothing of it left to send")).await;
    };
    let (tries, late) = (ready.tries, ready.late);
    let now = context.db.clock().now();
    match mailer.send(ready.id, &ready.template, &ready.to, ready.mail, now).await {
        Ok(()) => end(&context, id, End::Sent).await,
        Err(Undelivered::ForNow(reason)) if !late => {
            count(&ready.template, "retried");
            tracing::warn!(mail = %id, template = ready.template, tries, reason, "a mail could not be sent yet");
            again(&context, tries).await
        }
        Err(Undelivered::ForNow(reason) | Undelivered::ForGood(reason)) => end(&context, id, End::Dead(&reason)).await,
    }
}

fn count(template: &str, outcome: &str) {
    let known = Template::named(template).map_or("other", Template::name);
    metrics::MAIL.with_label_values(&[known, outcome]).inc();
}

/// The mail, rendered; `None` if there is nothing (left) to send.
fn load(tx: &mut crate::kernel::db::Tenant<'_>, id: MailId, keyring: &Keyring) -> Result<Option<Ready>> {
    let row = queries::take(tx.conn(), id)?;
    let (Some(sealed), "queued") = (row.data_sealed, row.state.as_str()) else {
        return Ok(None);
    };
    let (Some(template), Ok(to)) = (Template::named(&row.template), row.recipient.parse()) else {
        tracing::error!(mail = %id, template = row.template, "a mail has no such template or recipient");
        return Ok(None);
    };
    let data = keyring.open(&place(tx.workspace(), row.id), &sealed)?;
    let data = serde_json::from_slice(data.expose()).map_err(anyhow::Error::from)?;
    let late = tx.now()? - row.created_at > GIVEN_UP;
    Ok(Some(Ready {
        id,
        mail: render(template, &row.locale, &data)?,
        template: row.template,
        to,
        tries: row.tries,
        late,
    }))
}

/// How a mail ends.
#[derive(Clone, Copy)]
enum End<'r> {
    /// It has left.
    Sent,
    /// It never will, and why.
    Dead(&'r str),
}

/// Records how a mail ended, and tells of one that will never leave.
async fn end(context: &JobContext, id: MailId, end: End<'_>) -> Result<()> {
    let is_sent = matches!(end, End::Sent);
    let state = if is_sent { "sent" } else { "dead" };
    let record = || {
        let job = context.job.clone();
        context.db.tenant(context.scope(), move |tx| {
            let at = if is_sent { Some(tx.now()?) } else { None };
            match queries::end(tx.conn(), id, state, at)? {
                Some(ended) => finish(tx, &job).map(|()| ended),
                // Only whoever holds the lease ends a mail: it was this job, and nobody heard of it.
                None => {
                    jobs::ended_unheard(&job);
                    Ok(queries::ended(tx.conn(), id)?)
                }
            }
        })
    };
    let (template, tries) = context.insist(record).await?;
    count(&template, state);
    if let End::Dead(reason) = end {
        tracing::error!(mail = %id, template, tries, reason, "a mail cannot be sent");
    }
    Ok(())
}

async fn again(context: &JobContext, tries: i32) -> Result<()> {
    let place = usize::try_from(tries - 1).unwrap_or(0).min(SCHEDULE.len() - 1);
    let delay = chrono::Duration::seconds(SCHEDULE[place]);
    let record = || {
        let job = context.job.clone();
        context.db.tenant(context.scope(), move |tx| {
            let due = tx.now()? + delay;
            retry(tx, &job, Some(due))
        })
    };
    context.insist(record).await
}

async fn give_up(context: JobContext) -> Result<()> {
    let why = "its job was given up";
    end(&context, Id::from_uuid(context.job.id.0), End::Dead(why)).await
}

async fn forget(db: Db) -> Result<()> {
    let request = RequestId::new(db.clock().now()).to_string();
    let call = Call::internal("mail.forget", request.into());
    db.unscoped(&call, |tx| {
        let before = tx.now()? - GIVEN_UP;
        queries::forget(tx.conn(), before)?;
        Ok(())
    })
    .await
}
