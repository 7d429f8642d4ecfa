//! Work that goes into something as deep as somebody else nested it.

use std::{io, panic::resume_unwind, thread};

/// Of a thread for it, in bytes. It is used as far as it is needed.
const STACK: usize = 64 << 20;

/// Does it on a thread of its own, whose stack is large enough, and waits for that. A panic is handed on.
///
/// # Errors
/// There is no thread for it.
pub fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("deep".into()).stack_size(STACK);
        let done = thread.spawn_scoped(scope, work)?.join();
        Ok(done.unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
