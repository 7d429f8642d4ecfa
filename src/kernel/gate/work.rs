//! Work that blocks a thread, under a permit.

use std::{
    fmt,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::timeout,
};

use super::{Hall, Place};

/// A class's threads. Whoever is done takes the next in their line without being woken for it, which costs as much as a short query.
pub(super) struct Threads(&'static Runtime);

impl Threads {
    /// At most so many. One that has nothing to do for ten seconds ends.
    pub(super) fn new(name: &'static str, most: usize) -> Threads {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(most)
            .thread_name(name)
            .build();
        let runtime = runtime.expect("it drives neither sockets nor timers, so there is nothing to open");
        // Never dropped: a process has one gate, and whoever lets go of that last may be a task or a thread that ends, where no runtime may be
        // dropped.
        Threads(Box::leak(Box::new(runtime)))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.0.handle().spawn_blocking(work)
    }
}

/// Leave to work.
pub struct Permit {
    pub(super) hall: Arc<Hall>,
    /// When its line was joined.
    pub(super) came: Instant,
    /// Whose time it is.
    pub(super) worker: Option<Arc<Place>>,
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _place: Option<Place>,
}

impl Permit {
    /// Works on a thread of the class. The permit is the thread's, not the future's: a caller that goes away does not make room that is
    /// not there. The work must not spawn tasks on the runtime that it finds, for nobody drives it.
    pub fn work<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        let settled = Arc::new(AtomicBool::new(false));
        let (hall, came, worker) = (Arc::clone(&self.hall), self.came, self.worker.clone());
        let thread = hall.threads.spawn({
            let settled = Arc::clone(&settled);
            move || {
                // The whole of it: a closure takes only what it names.
                let permit = self;
                if settled.swap(true, Ordering::Relaxed) {
                    return None;
                }
                permit.hall.waited(permit.came.elapsed(), permit.worker.as_deref());
                let _time = permit.worker.as_deref().map(Time::begin);
                Some(work())
            }
        });
        Work {
            thread,
            settled,
            hall,
            came,
            worker,
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// Time at work, while it goes on.
struct Time<'p> {
    place: &'p Place,
    began: Instant,
}

impl Time<'_> {
    fn begin(place: &Place) -> Time<'_> {
        let began = Instant::now();
        Time { place, began }
    }
}

impl Drop for Time<'_> {
    fn drop(&mut self) {
        self.place.worked(self.began.elapsed());
    }
}

/// Work that a thread does, or is about to. It is never begun if nobody waits for it any longer by then.
pub struct Work<T> {
    thread: JoinHandle<Option<T>>,
    /// It was begun, or it never will be.
    settled: Arc<AtomicBool>,
    hall: Arc<Hall>,
    came: Instant,
    worker: Option<Arc<Place>>,
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It was not begun in time, and never will be.
    NotBegun,
    /// It goes on, or the process ended meanwhile.
    UnderWay,
}

impl<T> Work<T> {
    /// What came of it, if that takes no longer than this.
    ///
    /// # Errors
    /// [`Late`].
    ///
    /// # Panics
    /// As the work did.
    pub async fn within(mut self, time: Option<Duration>) -> Result<T, Late> {
        let joined = match time {
            Some(time) => timeout(time, &mut self.thread).await.map_err(|_| self.give_up())?,
            None => (&mut self.thread).await,
        };
        match joined {
            Ok(done) => done.ok_or(Late::NotBegun),
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(self.give_up()),
            },
        }
    }

    fn give_up(&self) -> Late {
        match self.settled.swap(true, Ordering::Relaxed) {
            true => Late::UnderWay,
            false => {
                self.hall.waited(self.came.elapsed(), self.worker.as_deref());
                Late::NotBegun
            }
        }
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.give_up();
    }
}
