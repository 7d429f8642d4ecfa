//! Waiting for what the database says.

use crate::kernel::{
    access::Class,
    error::{DEADLINE_EXCEEDED, Outcome, Problem, Result},
    gate::{Late, Work},
};

/// What a thread answers, within the time that calls of this class have: a server that hangs keeps none, whatever it was told.
pub(super) async fn answer<T>(work: Work<Result<T>>, class: Class, read_only: bool) -> Result<T> {
    let time = (class != Class::Job).then(|| class.time());
    match work.within(time).await {
        Ok(answer) => answer,
        // What is under way may still be committed.
        Err(Late::UnderWay) if !read_only => Err(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::Unknown).into()),
        Err(_) => Err(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None).into()),
    }
}
