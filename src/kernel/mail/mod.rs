//! Mails. A mail is a row that commits with what it tells of; a job of lane `mail` renders and sends it. It is sent
//! again, with the same `Message-ID`, where nobody could write down in time that it has left.

mod jobs;
mod mailer;
mod model;
mod queries;
mod render;
mod routes;
mod sealed;

pub use jobs::{KIND, register};
pub use mailer::{Captured, Mailbox, Mailer};
pub use model::{Address, NewMail, NotAnAddress, Template};
pub use routes::routes;
pub(in crate::kernel) use sealed::SEALED;

use crate::kernel::{
    crypto::{Aad, Keyring},
    db::{Kernel, Tenant},
    error::Result,
    id::{JobId, MailId, WorkspaceId},
    jobs::{Lane, Push, push, push_for},
};

/// Queues a mail, unless one with the same key was queued before. Comes late in a transaction, as every push does.
///
/// # Errors
/// The database's.
pub fn send(tx: &mut Tenant<'_>, keyring: &Keyring, mail: &NewMail<'_>) -> Result<()> {
    let id = MailId::new(tx.now()?);
    let workspace = tx.workspace();
    let sealed = seal(keyring, workspace, id, mail)?;
    if queries::insert(tx.conn(), workspace, id, mail, &sealed)? {
        push(tx, sending(id))?;
    }
    Ok(())
}

/// The same before a workspace is known: the mail then belongs to `platform`.
///
/// # Errors
/// The database's.
pub(in crate::kernel) fn send_for(
    tx: &mut Kernel<'_>,
    workspace: WorkspaceId,
    keyring: &Keyring,
    mail: &NewMail<'_>,
) -> Result<()> {
    let id = MailId::new(tx.now()?);
    let sealed = seal(keyring, workspace, id, mail)?;
    if queries::insert(tx.conn(), workspace, id, mail, &sealed)? {
        push_for(tx, workspace, sending(id))?;
    }
    Ok(())
}

fn sending(id: MailId) -> Push {
    Push {
        priority: 7,
        ..Push::now(Lane::Mail, KIND, JobId(id.uuid()))
    }
}

/// What a mail says is nobody's business: it may hold a link that signs somebody in.
fn seal(
    keyring: &Keyring,
    workspace: WorkspaceId,
    id: MailId,
    mail: &NewMail<'_>,
) -> Result<crate::kernel::crypto::Sealed> {
    let text = serde_json::to_vec(&mail.data).map_err(anyhow::Error::from)?;
    Ok(keyring.seal(&place(workspace, id), &text))
}

fn place(workspace: WorkspaceId, id: MailId) -> Aad {
    Aad::new(Some(workspace.uuid()), "mails", "data_sealed", id.uuid())
}
