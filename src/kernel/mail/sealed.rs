//! What mails say, as it is sealed.

use crate::{
    kernel::{
        id::{MailId, WorkspaceId},
        keks::Part,
        mail::place,
        schema::mails,
    },
    sealed_column,
};

/// What the KEKs of mails wrap.
pub(in crate::kernel) const SEALED: Part = Part::of::<Contents>();

sealed_column!(
    Contents, tenant, mails.data_sealed, (id: MailId), (workspace_id: WorkspaceId),
    |(id,), (workspace,)| place(*workspace, *id)
);
