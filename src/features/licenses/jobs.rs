//! What a licence's end leaves to be done after the commit.

use crate::{
    features::licenses::service::{END_MACHINES, end_machines},
    kernel::{
        error::Result,
        id::LicenseId,
        jobs::{self, JobContext, Lane, Runner},
    },
};

/// Registers what licences do outside of requests.
pub fn register(runner: &mut Runner) {
    runner.on(END_MACHINES, Lane::System, end);
}

/// Deactivates the rest of a revoked licence's machines, so many a transaction.
async fn end(job: JobContext) -> Result<()> {
    let license = LicenseId::from_uuid(job.job.group_id);
    loop {
        let ending = job.clone();
        let step = job.db.tenant(job.scope(), move |tx| {
            let done = end_machines(tx, license)?;
            if done {
                jobs::finish(tx, &ending.job)?;
            }
            Ok(done)
        });
        if step.await? {
            return Ok(());
        }
    }
}
