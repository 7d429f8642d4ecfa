//! Waiting for what must come to be: the only place where tests wait by the clock on the wall, and never for longer than it takes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// For as long as this is waited for what takes a moment, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks until it is so, for at most so long.
pub async fn within(longest: Duration, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < longest, "not within {longest:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for a minute, which even a busy machine keeps to.
pub async fn until(what: &str, so: impl AsyncFnMut() -> bool) {
    within(LONGEST, what, so).await;
}

/// Tries until it takes less than this. Whatever else a machine does only adds to a time, so the shortest of many is what a thing takes
/// by itself: what always takes longer is never found short.
pub async fn at_its_best(limit: Duration, what: &str, mut once: impl AsyncFnMut()) {
    let mut shortest = Duration::MAX;
    let begun = Instant::now();
    while shortest >= limit {
        assert!(begun.elapsed() < LONGEST, "{shortest:?} at best: {what}");
        let tried = Instant::now();
        once().await;
        shortest = shortest.min(tried.elapsed());
    }
}

/// Tries two ways eight times each, and then until the shortest time of the one is about that of the other, both without what each takes
/// anyway.
pub async fn alike_at_their_best(what: &str, anyway: Duration, mut once: impl AsyncFnMut(usize) -> [Duration; 2]) {
    const TRIES: usize = 8;
    let mut shortest = [Duration::MAX; 2];
    let begun = Instant::now();
    for tried in 1.. {
        for (shortest, time) in shortest.iter_mut().zip(once(tried).await) {
            *shortest = time.min(*shortest);
        }
        let [one, other] = shortest;
        if tried >= TRIES && one.abs_diff(other) < one.max(other).saturating_sub(anyway) / 4 + Duration::from_millis(3)
        {
            return;
        }
        assert!(
            tried < TRIES || begun.elapsed() < LONGEST,
            "{one:?} and {other:?} at best: {what}"
        );
    }
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
