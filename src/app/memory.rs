//! Memory that is free goes back to the machine.

use std::{hint::black_box, time::Duration};

/// How often.
const TURN: Duration = Duration::from_secs(1);
/// More than fits into the segments of 32 MiB that threads keep for themselves (mimalloc 2: half of one), so it comes from what all share.
const LARGE: usize = 17 << 20;

/// Lets the allocator give back what was freed a second ago. It does so when it is next asked for a page, and an idle process asks for none:
/// it would keep what starting took, or the last flood. Never returns.
pub async fn give_back() {
    loop {
        tokio::time::sleep(TURN).await;
        // Asked for and never touched, so it costs nothing.
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
