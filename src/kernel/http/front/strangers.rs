//! What is noted of those who were not let in.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;

use super::{Front, credentials};
use crate::kernel::{
    access::Call,
    audit::Subject,
    error::{INVALID_CREDENTIALS, Result},
    id::UserId,
};

impl Front {
    /// Notes a wrong password for an account in the audit log of a workspace, where one is known: the one that the request names, or the
    /// account's only one. Nobody knows whose guess it was, so the account is what the entry is about.
    ///
    /// # Errors
    /// The database's.
    pub(in crate::kernel) async fn note_wrong_password(
        &self,
        call: &Arc<Call>,
        headers: &HeaderMap,
        user: UserId,
    ) -> Result<()> {
        let Ok(named) = credentials::workspace(headers) else {
            return Ok(());
        };
        if let Some(scope) = self.doorkeeper.knocked_at(user, named, call).await? {
            let subject = Subject::of("user", user);
            let refusal = INVALID_CREDENTIALS.into();
            self.refusals
                .note_about(&scope, call.operation, Some(subject), &refusal);
        }
        Ok(())
    }
}
