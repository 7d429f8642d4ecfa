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
    db::{Db, Tenant},
    error::Result,
    id::{Id, MailId, RequestId},
    jobs::{self, Job, JobContext, Lane, Runner, finish, retry_unless_done},
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
    late: bool,
}

async fn send(context: JobContext, mailer: Mailer, keyring: Arc<Keyring>) -> Result<()> {
    let job = context.job.clone();
    let taken = context
        .db
        .tenant(context.scope(), move |tx| load(tx, &job, &keyring))
        .await?;
    let Some((tries, ready)) = taken else { return Ok(()) };
    let Some(ready) = ready else {
        return end(&context, tries, End::Dead("there is nothing of it left to send")).await;
    };
    let (id, late) = (ready.id, ready.late);
    let now = context.db.clock().now();
    match mailer.send(id, &ready.template, &ready.to, ready.mail, now).await {
        Ok(()) => end(&context, tries, End::Sent).await,
        Err(Undelivered::ForNow(reason)) if !late => {
            tracing::warn!(mail = %id, template = ready.template, tries, reason, "a mail could not be sent yet");
            again(&context, tries).await?;
            count(&ready.template, "retried");
            Ok(())
        }
        Err(Undelivered::ForNow(reason) | Undelivered::Broken(reason)) => {
            end(&context, tries, End::Dead(&reason)).await
        }
        Err(Undelivered::Refused(reason)) => end(&context, tries, End::Refused(&reason)).await,
    }
}

/// The mail that a job is about.
fn mail_of(job: &Job) -> MailId {
    Id::from_uuid(job.id.0)
}

fn count(template: &str, outcome: &str) {
    let known = Template::named(template).map_or("other", Template::name);
    metrics::MAIL.with_label_values(&[known, outcome]).inc();
}

/// The mail, for one more try, whose number nobody else has. `None`: it has ended already, and so does its job, unless that is somebody
/// else's by now.
fn take(tx: &mut Tenant<'_>, job: &Job) -> Result<Option<queries::Row>> {
    let row = queries::take(tx.conn(), mail_of(job))?;
    if row.is_none() {
        finish(tx, job)?;
    }
    Ok(row)
}

/// The number of this try, and the mail, rendered, unless there is nothing (left) to send. `None`: it has ended already, and the job with it.
fn load(tx: &mut Tenant<'_>, job: &Job, keyring: &Keyring) -> Result<Option<(i32, Option<Ready>)>> {
    let Some(row) = take(tx, job)? else { return Ok(None) };
    Ok(Some((row.tries, ready(tx, row, keyring)?)))
}

fn ready(tx: &mut Tenant<'_>, row: queries::Row, keyring: &Keyring) -> Result<Option<Ready>> {
    let Some(sealed) = row.data_sealed else {
        return Ok(None);
    };
    let (Some(template), Ok(to)) = (Template::named(&row.template), row.recipient.parse()) else {
        tracing::error!(mail = %row.id, template = row.template, "a mail has no such template or recipient");
        return Ok(None);
    };
    let data = keyring.open(&place(tx.workspace(), row.id), &sealed)?;
    let data = serde_json::from_slice(data.expose()).map_err(anyhow::Error::from)?;
    let late = tx.now()? - row.created_at > GIVEN_UP;
    Ok(Some(Ready {
        id: row.id,
        mail: render(template, &row.locale, &data)?,
        template: row.template,
        to,
        late,
    }))
}

/// How a mail ends.
#[derive(Clone, Copy)]
enum End<'r> {
    /// It has left.
    Sent,
    /// The server refuses it, and why: anybody may have typed its address.
    Refused(&'r str),
    /// It never will, and why: somebody has to look.
    Dead(&'r str),
}

/// Records how a mail ended with this try, and tells of one that will never leave.
async fn end(context: &JobContext, tries: i32, end: End<'_>) -> Result<()> {
    let id = mail_of(&context.job);
    let is_sent = matches!(end, End::Sent);
    let state = if is_sent { "sent" } else { "dead" };
    let record = || {
        let job = context.job.clone();
        context.db.tenant(context.scope(), move |tx| {
            let at = if is_sent { Some(tx.now()?) } else { None };
            if let Some(template) = queries::end(tx.conn(), id, tries, (state, at))? {
                return finish(tx, &job).map(|()| Some(template));
            }
            let own = queries::ended_by(tx.conn(), id, tries)?;
            match own {
                // By this very try, in a commit that nobody heard of.
                Some(_) => jobs::ended_unheard(&job),
                // By whoever has the job now: then there is no lease to give up.
                None => finish(tx, &job)?,
            }
            Ok(own)
        })
    };
    let Some(template) = context.insist(record).await? else {
        return Ok(());
    };
    count(&template, state);
    match end {
        End::Sent => {}
        End::Refused(reason) => tracing::warn!(mail = %id, template, tries, reason, "a mail was refused"),
        End::Dead(reason) => tracing::error!(mail = %id, template, tries, reason, "a mail cannot be sent"),
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
            retry_unless_done(tx, &job, Some(due))
        })
    };
    context.insist(record).await
}

/// That is a try, too, in which nothing is sent: whoever ends a mail is known by its number.
async fn give_up(context: JobContext) -> Result<()> {
    let job = context.job.clone();
    let taken = context.db.tenant(context.scope(), move |tx| take(tx, &job)).await?;
    match taken {
        Some(mail) => end(&context, mail.tries, End::Dead("its job was given up")).await,
        None => Ok(()),
    }
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
