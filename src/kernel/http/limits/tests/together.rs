//! Several processes, one limit.

use std::time::{Duration, Instant};

use super::*;

/// How many of so many requests pass that the processes judge together, and how many were judged alone: a busy machine may be late.
async fn together(limits: &Limits, home: &Home, asks: &[Ask], requests: usize) -> (usize, usize) {
    let (mut passed, mut alone) = (0, 0);
    for _ in 0..requests {
        let verdict = limits.check(home, asks).await;
        passed += usize::from(verdict.is_allowed() && verdict.is_shared());
        alone += usize::from(!verdict.is_shared());
    }
    (passed, alone)
}

#[actix_web::test]
async fn processes_share_their_limits_to_within_a_batch_each() {
    let Some(server) = PrivateRedis::start() else { return };
    let (one, two) = (process(&server, "shared").await, process(&server, "shared").await);
    // 400 a second: batches of 40. A burst of 1,000 is spent before much of it comes back.
    let quota = Quota::per_second(400).burst(1_000);
    let (home, ask) = (home(), [Ask::new("workspace", quota)]);
    let begun = Instant::now();
    let (a, b) = futures_util::join!(passed(&one, &home, &ask, 1_500), passed(&two, &home, &ask, 1_500));
    let came_back = (begun.elapsed().as_secs_f64() * 400.0).ceil() as usize;
    let fair = 1_000 + came_back;
    assert!(a + b <= fair, "{a} + {b} passed of {fair}");
    assert!(a + b + 80 >= 1_000.min(fair), "{a} + {b} passed of {fair}");
}

#[actix_web::test]
async fn what_one_process_took_in_advance_is_not_given_to_another() {
    let Some(server) = PrivateRedis::start() else { return };
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(process(&server, "advance").await);
    }
    // 1,000 a second: batches of 100, and a burst that four of them would take twice over.
    let (home, ask) = (home(), [Ask::new("workspace", Quota::per_second(1_000).burst(400))]);
    let begun = Instant::now();
    let rounds = processes.iter().map(|limits| together(limits, &home, &ask, 600));
    let rounds = futures_util::future::join_all(rounds).await;
    let passed: usize = rounds.iter().map(|(passed, _)| passed).sum();
    let fair = 400 + (begun.elapsed().as_secs_f64() * 1_000.0).ceil() as usize;
    assert!(passed <= fair, "{passed} passed of {fair}");
    assert!(
        passed >= 400 || rounds.iter().any(|(_, alone)| *alone > 0),
        "the last tokens go one by one, to whoever asks: {passed}"
    );
}

#[actix_web::test]
async fn small_limits_are_exact_however_many_processes_ask() {
    let Some(server) = PrivateRedis::start() else { return };
    let (one, two) = (process(&server, "exact").await, process(&server, "exact").await);
    for quota in [
        Quota::per_hour(3),
        Quota::per_hour(10),
        Quota::every(300, Duration::from_secs(86_400)),
    ] {
        let (home, ask) = (home(), [Ask::new("export", quota)]);
        let ((a, lost), (b, lost_too)) =
            futures_util::join!(together(&one, &home, &ask, 250), together(&two, &home, &ask, 250));
        let most = quota.count as usize;
        assert!(a + b <= most, "{a} + {b} passed of {quota:?}");
        assert!(a + b == most || lost + lost_too > 0, "{a} + {b} passed of {quota:?}");
    }
}

#[actix_web::test]
async fn what_was_taken_in_advance_outlives_the_server_by_a_second_and_then_each_judges_alone() {
    let Some(server) = PrivateRedis::start() else { return };
    let limits = process(&server, "died").await;
    let (home, ask) = (
        home(),
        [Ask::new("workspace", Quota::per_hour(36_000_000).burst(4_000))],
    );
    assert!(limits.check(&home, &ask).await.is_allowed());
    server.hang();
    // The rest of a batch of 1,000, and then this process's own count, which begins afresh: twice the limit and no more.
    let mut waits = Duration::ZERO;
    let mut passed = 0;
    let begun = Instant::now();
    for _ in 0..20_000 {
        let asked = Instant::now();
        passed += usize::from(limits.check(&home, &ask).await.is_allowed());
        waits = waits.max(asked.elapsed());
    }
    let came_back = (begun.elapsed().as_secs_f64() * 10_000.0).ceil() as usize;
    assert!(passed >= 999, "what was taken is spent: {passed}");
    assert!(passed <= 4_999 + came_back, "{passed} passed, {came_back} came back");
    assert!(waits < 3 * PATIENCE, "{waits:?}");
    server.resume();
}
