//! Goes through workspaces, a page at a time.

use crate::kernel::{
    access::Call,
    db::{Db, Kernel},
    error::Result,
    id::{RequestId, WorkspaceId},
};

/// Sees to the next workspaces beyond one, in their order, and answers which; none: that was all.
pub(in crate::kernel) type Page = fn(&mut Kernel<'_>, WorkspaceId) -> Result<Vec<WorkspaceId>>;

/// Goes through workspaces page by page, each in a transaction of its own. A call has a deadline that is good for one of them: each page has
/// its own call, or those who come last would never be reached.
///
/// # Errors
/// The page's.
pub(in crate::kernel) async fn sweep(db: &Db, operation: &'static str, page: Page) -> Result<()> {
    let mut last = WorkspaceId::nil();
    loop {
        let request = RequestId::new(db.clock().now()).to_string();
        let call = Call::internal(operation, request.into());
        let found = db.unscoped(&call, move |tx| page(tx, last)).await?;
        match found.last() {
            Some(next) => last = *next,
            None => return Ok(()),
        }
    }
}
