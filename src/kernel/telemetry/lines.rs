//! Log lines on their way out. A busy process writes one for each request, so they wait for each other for a moment and leave together; what
//! somebody must look at leaves at once, with all that came before it. The well-kept crate for this hands every line to a thread, which
//! costs more than writing it.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line waits for others.
const WAIT: Duration = Duration::from_millis(20);
/// Bytes that do not wait for more.
const FULL: usize = 32 << 10;

/// Where lines are put. What is dropped is written first.
pub(super) struct Lines<W: Write>(Arc<Inner<W>>);

struct Inner<W: Write> {
    held: Mutex<Held<W>>,
    came: Condvar,
}

struct Held<W: Write> {
    text: Vec<u8>,
    out: W,
}

impl<W: Write> Held<W> {
    fn leave(&mut self) {
        // Whoever cannot write its log has nobody to tell.
        let _ = self.out.write_all(&self.text).and_then(|()| self.out.flush());
        self.text.clear();
    }
}

impl<W: Write> Drop for Held<W> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<W: Write> Clone for Lines<W> {
    fn clone(&self) -> Lines<W> {
        Lines(self.0.clone())
    }
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Lines<W> {
        let held = Mutex::new(Held { text: Vec::new(), out });
        Lines(Arc::new(Inner {
            held,
            came: Condvar::new(),
        }))
    }

    /// Writes whatever waits.
    pub(super) fn leave(&self) {
        self.held().leave();
    }

    fn held(&self) -> MutexGuard<'_, Held<W>> {
        self.0.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Sees to it that no line waits for long, until the process ends.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn keep_leaving(&self) -> io::Result<()> {
        let lines = self.clone();
        let leaving = move || {
            loop {
                let held = lines.held();
                let nothing = |held: &mut Held<W>| held.text.is_empty();
                drop(lines.0.came.wait_while(held, nothing));
                thread::sleep(WAIT);
                lines.leave();
            }
        };
        thread::Builder::new().name("log".into()).spawn(leaving).map(drop)
    }
}

/// One line.
pub(super) struct Line<'l, W: Write> {
    lines: &'l Lines<W>,
    at_once: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut held = self.lines.held();
        let is_first = held.text.is_empty();
        held.text.extend_from_slice(text);
        if self.at_once || held.text.len() >= FULL {
            held.leave();
        } else if is_first {
            self.lines.0.came.notify_one();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'l, W: Write + 'static> MakeWriter<'l> for Lines<W> {
    type Writer = Line<'l, W>;

    fn make_writer(&'l self) -> Line<'l, W> {
        Line {
            lines: self,
            at_once: true,
        }
    }

    fn make_writer_for(&'l self, meta: &Metadata<'_>) -> Line<'l, W> {
        Line {
            lines: self,
            at_once: *meta.level() <= Level::WARN,
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Layer, fmt, layer::SubscriberExt};

    use super::*;

    /// What was written, write by write.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<String>>>);

    impl Paper {
        fn written(&self) -> Vec<String> {
            self.0.lock().expect("no panic while writing").clone()
        }
    }

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let line = String::from_utf8(text.to_vec()).expect("lines are text");
            self.0.lock().expect("no panic while writing").push(line);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(lines: &Lines<Paper>, log: impl FnOnce()) {
        let layer = fmt::layer()
            .with_writer(lines.clone())
            .without_time()
            .with_target(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_ansi(false).boxed()), log);
    }

    #[test]
    fn lines_leave_together_and_trouble_takes_along_what_came_before_it() {
        let paper = Paper::default();
        let lines = Lines::new(paper.clone());
        logged(&lines, || {
            tracing::info!("one");
            tracing::info!("two");
            assert_eq!(paper.written(), Vec::<String>::new());
            tracing::warn!("trouble");
            assert_eq!(paper.written(), [" INFO one\n INFO two\n WARN trouble\n"]);
            tracing::info!("three");
        });
        drop(lines);
        assert_eq!(paper.written().last().expect("the rest"), " INFO three\n");
    }

    #[test]
    fn a_line_alone_leaves_soon_and_many_leave_before_they_are_too_many() {
        let paper = Paper::default();
        let lines = Lines::new(paper.clone());
        let long = "x".repeat(1_000);
        logged(&lines, || {
            for _ in 0..100 {
                tracing::info!("{long}");
            }
        });
        let written = paper.written();
        assert!(!written.is_empty() && written.iter().all(|text| text.len() <= FULL + 1_010));
        lines.keep_leaving().expect("a thread");
        let whole = || paper.written().iter().map(String::len).sum::<usize>();
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        while whole() < 100 * (" INFO \n".len() + long.len()) {
            assert!(std::time::Instant::now() < patience, "a line did not leave");
            thread::yield_now();
        }
    }
}
