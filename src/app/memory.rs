//! Memory that is free goes back to the machine.

use std::{hint::black_box, time::Duration};

/// How often.
const TURN: Duration = Duration::from_secs(1);
/// More than a thread has at hand, so it comes from what all share.
const LARGE: usize = 17 << 20;

/// Lets the allocator give back what was freed a second ago, whichever thread freed it. It does so when it is next asked for much, and an idle
/// process asks for nothing: it would keep what starting took, or the last flood. Never returns.
pub async fn give_back() {
    loop {
        tokio::time::sleep(TURN).await;
        // Asked for and never touched, so it costs nothing.
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}
