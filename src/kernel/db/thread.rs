//! Waiting for a thread that asks the database.

use tokio::{task::JoinHandle, time::timeout};

use crate::kernel::{
    access::Class,
    error::{DEADLINE_EXCEEDED, Outcome, Problem, Result},
};

/// What a thread answers, within the time that calls of this class have: a server that hangs keeps none, whatever it was told.
pub(super) async fn answer<T>(thread: JoinHandle<Result<T>>, class: Class, read_only: bool) -> Result<T> {
    let joined = match class {
        Class::Job => thread.await,
        class => timeout(class.time(), thread).await.map_err(|_| late(read_only))?,
    };
    match joined {
        Ok(answer) => answer,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(late(read_only).into()),
        },
    }
}

/// Nobody waits any longer. What is under way may still be committed.
fn late(read_only: bool) -> Problem {
    Problem::from(DEADLINE_EXCEEDED).outcome(match read_only {
        true => Outcome::None,
        false => Outcome::Unknown,
    })
}
