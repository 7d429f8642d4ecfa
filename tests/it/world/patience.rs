//! Waiting for what must come to be: the only place where tests wait by the clock on the wall, and never for longer than it takes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until it is so, for at most so long.
pub async fn within(longest: Duration, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < longest, "not within {longest:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for twenty seconds, which even a busy machine keeps to.
pub async fn until(what: &str, so: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(20), what, so).await;
}

/// The same without a runtime. `None` of a look goes on.
pub fn found<T>(longest: Duration, what: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < longest, "not within {longest:?}: {}", what());
        thread::sleep(PAUSE);
    }
}

/// Whoever was told to come back later does.
pub async fn a_while() {
    tokio::time::sleep(PAUSE).await;
}

/// A peer that takes its time before it answers: no test waits for that, it is what the peer is like.
pub fn slow_peer(takes: Duration) {
    thread::sleep(takes);
}
