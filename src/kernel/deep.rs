//! Work that goes into something as deep as somebody else nested it.

use std::{num::NonZero, sync::OnceLock, thread::available_parallelism};

use anyhow::{Context, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Of each thread, in bytes. It is used as far as it is needed.
const STACK: usize = 64 << 20;

static THREADS: OnceLock<ThreadPool> = OnceLock::new();

/// Threads for each core: what takes long shares it with what others ask for meanwhile.
const A_CORE: usize = 4;

/// Makes the threads for it: a process without room for them finds out when it starts, and not at somebody's request.
///
/// # Errors
/// They cannot be made.
pub fn start() -> Result<()> {
    if THREADS.get().is_none() {
        // Two that begin together make two, and one of them ends again.
        let _ = THREADS.set(threads()?);
    }
    Ok(())
}

fn threads() -> Result<ThreadPool> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let builder = ThreadPoolBuilder::new().num_threads(A_CORE * cores).stack_size(STACK);
    let made = builder.thread_name(|number| format!("deep-{number}")).build();
    made.context("the threads for what is deeply nested cannot be made")
}

/// Does it on a thread whose stack is large enough, and waits for that. A panic is handed on.
pub fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let threads = THREADS.get_or_init(|| threads().unwrap_or_else(|error| panic!("{error:#}")));
    threads.install(work)
}
