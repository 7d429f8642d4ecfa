//! Log lines on their way out. A busy process writes one for each request, so they wait for each other for a moment and leave together, by a
//! thread of their own. What somebody must look at leaves at once, with all that came before it, and whoever says it waits for whatever takes
//! them; so does everybody once there are too many. The well-kept crate for this hands every line to a thread, which costs more than writing it.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// How long a line waits for others.
const WAIT: Duration = Duration::from_millis(20);
/// Bytes that wait at most, twice what a busy process writes meanwhile. Whoever puts more writes them itself, so they never fill the memory.
const FULL: usize = 1 << 20;

/// Where lines are put. What is dropped is written first.
pub(super) struct Lines<W: Write>(Arc<Inner<W>>);

struct Inner<W: Write> {
    /// What waits. Never held while something is written.
    waiting: Mutex<Vec<u8>>,
    came: Condvar,
    /// Whoever holds it writes what waits: so it leaves in the order in which it came.
    out: Mutex<Out<W>>,
}

struct Out<W: Write> {
    to: W,
    /// What is on its way.
    text: Vec<u8>,
}

impl<W: Write> Inner<W> {
    fn leave(&self) {
        let mut out = held(&self.out);
        let Out { to, text } = &mut *out;
        mem::swap(text, &mut *held(&self.waiting));
        // Whoever cannot write its log has nobody to tell.
        let _ = to.write_all(text).and_then(|()| to.flush());
        text.clear();
    }
}

impl<W: Write> Drop for Inner<W> {
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
    pub(super) fn new(to: W) -> Lines<W> {
        Lines(Arc::new(Inner {
            waiting: Mutex::default(),
            came: Condvar::new(),
            out: Mutex::new(Out { to, text: Vec::new() }),
        }))
    }

    /// Puts a line behind the others, which leave with it if it must not wait.
    pub(super) fn write(&self, line: &[u8], at_once: bool) {
        let (is_first, is_full) = {
            let mut waiting = held(&self.0.waiting);
            let is_first = waiting.is_empty();
            waiting.extend_from_slice(line);
            (is_first, waiting.len() >= FULL)
        };
        if at_once || is_full {
            self.leave();
        } else if is_first {
            self.0.came.notify_one();
        }
    }

    /// Writes whatever waits.
    pub(super) fn leave(&self) {
        self.0.leave();
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
                let nothing = |waiting: &mut Vec<u8>| waiting.is_empty();
                drop(lines.0.came.wait_while(held(&lines.0.waiting), nothing));
                thread::sleep(WAIT);
                lines.leave();
            }
        };
        thread::Builder::new().name("log".into()).spawn(leaving).map(drop)
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What was written, write by write.
    #[derive(Clone, Default)]
    pub(in super::super) struct Paper(Arc<Mutex<Vec<String>>>);

    impl Paper {
        pub(in super::super) fn written(&self) -> Vec<String> {
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

    #[test]
    fn lines_leave_together_and_trouble_takes_along_what_came_before_it() {
        let paper = Paper::default();
        let lines = Lines::new(paper.clone());
        lines.write(b"one\n", false);
        lines.write(b"two\n", false);
        assert_eq!(paper.written(), Vec::<String>::new());
        lines.write(b"trouble\n", true);
        assert_eq!(paper.written(), ["one\ntwo\ntrouble\n"]);
        lines.write(b"three\n", false);
        drop(lines);
        assert_eq!(paper.written().last().expect("the rest"), "three\n");
    }

    #[test]
    fn a_line_alone_leaves_soon_and_many_leave_before_they_are_too_many() {
        let paper = Paper::default();
        let lines = Lines::new(paper.clone());
        let long = "x".repeat(1_000);
        let many = 3 * FULL / long.len();
        for _ in 0..many {
            lines.write(long.as_bytes(), false);
        }
        let written = paper.written();
        assert!(!written.is_empty() && written.iter().all(|text| text.len() <= FULL + long.len()));
        lines.keep_leaving().expect("a thread");
        let whole = || paper.written().iter().map(String::len).sum::<usize>();
        // The rest of those, and then each by itself: by then the thread waits to be told of it, now and then at least.
        for more in 0..50 {
            let patience = std::time::Instant::now() + Duration::from_secs(20);
            while whole() < (many + more) * long.len() {
                assert!(std::time::Instant::now() < patience, "a line did not leave");
                thread::sleep(Duration::from_millis(1));
            }
            lines.write(long.as_bytes(), false);
        }
    }

    #[test]
    fn lines_of_many_threads_stay_whole_and_each_thread_s_in_order() {
        let paper = Paper::default();
        let lines = Lines::new(paper.clone());
        let say = |who: usize| {
            for n in 0..2_000 {
                lines.write(format!("{who} {n}\n").as_bytes(), n % 100 == 99);
            }
        };
        thread::scope(|threads| {
            for who in 0..4 {
                threads.spawn(move || say(who));
            }
        });
        let all = paper.written().concat();
        for who in 0..4 {
            let of_one = all.lines().filter_map(|line| line.strip_prefix(&format!("{who} ")));
            assert!(of_one.eq((0..2_000).map(|n| n.to_string())), "{who}");
        }
    }
}
