use std::{
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use super::*;
use crate::kernel::error::RATE_LIMITED;

fn call(class: Class, place: Option<&Arc<Place>>) -> Call {
    Call {
        class,
        place: place.cloned(),
        deadline: Instant::now() + Duration::from_secs(5),
        ..Call::internal("test", "req_test".into())
    }
}

fn stranger() -> Call {
    call(Class::Interactive, None)
}

fn workspace(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(uuid::Uuid::from_u128(n))
}

/// One permit and a line of two.
fn narrow() -> Gate {
    Gate::new(1, 5, 1)
}

#[actix_web::test]
async fn a_full_line_is_told_at_once_and_leaving_it_is_free() {
    let gate = narrow();
    let held = gate.enter(&stranger(), None).await.expect("the first goes in");
    let call = stranger();
    let mut line: Vec<_> = (0..2).map(|_| Box::pin(gate.enter(&call, None))).collect();
    for waiting in &mut line {
        assert!(futures_util::poll!(waiting).is_pending());
    }
    assert_eq!(gate.hall(Class::Interactive).waiting.load(Ordering::Relaxed), 2);
    let refused = gate.enter(&stranger(), None).await.expect_err("the line is full");
    assert_eq!(refused.kind(), OVERLOADED);
    assert_eq!(gate.admit(Class::Interactive).err(), Some(Full));
    line.clear();
    drop(held);
    gate.enter(&stranger(), None).await.expect("room again");
    assert_eq!(gate.hall(Class::Interactive).waiting.load(Ordering::Relaxed), 0);
}

#[actix_web::test]
async fn who_waits_too_long_without_a_place_is_sent_away() {
    let gate = narrow();
    let _held = gate.enter(&stranger(), None).await.expect("the first goes in");
    let began = Instant::now();
    let refused = gate.enter(&stranger(), None).await.expect_err("nobody leaves");
    assert_eq!(refused.kind(), OVERLOADED);
    assert!(began.elapsed() < Duration::from_secs(2), "not until the deadline");
}

#[actix_web::test]
async fn who_has_a_place_is_never_refused_for_lack_of_room() {
    let gate = narrow();
    let places: Vec<_> = (0..3)
        .map(|_| gate.admit(Class::Interactive).expect("there is room"))
        .collect();
    assert_eq!(gate.admit(Class::Interactive).err(), Some(Full), "three places");
    // Each passes three times, in halls that are full, and waits for longer than a stranger may.
    for class in [Class::Interactive, Class::Credential, Class::Interactive] {
        let hall = gate.hall(class);
        let held: Vec<_> = (0..hall.room.permits + hall.next)
            .map(|_| hall.free.clone().try_acquire_owned().expect("free"))
            .collect();
        let calls: Vec<_> = places.iter().map(|place| call(class, Some(place))).collect();
        let mut line: Vec<_> = calls.iter().map(|call| Box::pin(gate.enter(call, None))).collect();
        for waiting in &mut line {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        tokio::time::sleep(hall.room.longest + Duration::from_millis(50)).await;
        drop(held);
        for waiting in line {
            waiting.await.expect("never refused");
        }
    }
    drop(places);
    assert!(gate.admit(Class::Interactive).is_ok(), "the places came back");
}

#[actix_web::test]
async fn who_has_a_place_waits_until_the_deadline_and_no_longer() {
    let gate = narrow();
    let _held = gate.enter(&stranger(), None).await.expect("the first goes in");
    let place = gate.admit(Class::Interactive).expect("there is room");
    let call = Call {
        deadline: Instant::now() + Duration::from_millis(30),
        ..call(Class::Interactive, Some(&place))
    };
    let refused = gate.enter(&call, None).await.expect_err("nobody leaves");
    assert_eq!(refused.kind(), OVERLOADED);
}

#[actix_web::test]
async fn a_place_that_was_left_has_to_be_found_again() {
    let gate = narrow();
    let place = gate.admit(Class::Interactive).expect("there is room");
    place.belong_to(workspace(1)).expect("its share");
    place.leave();
    let others: Vec<_> = (0..3)
        .map(|_| gate.admit(Class::Interactive).expect("there is room"))
        .collect();
    assert_eq!(place.come_back().expect_err("it is full").kind(), OVERLOADED);
    let held = gate.enter(&call(Class::Interactive, Some(&place)), None).await;
    assert!(held.is_err(), "it counts as one without a place");
    drop(others);
    place.come_back().expect("there is room");
    place.come_back().expect("it is inside");
    drop(place);
    assert_eq!(gate.hall(Class::Interactive).inside.load(Ordering::Relaxed), 0);
    assert!(gate.hall(Class::Interactive).shares.lock().expect("whole").is_empty());
}

#[actix_web::test]
async fn one_workspace_cannot_take_the_whole_line_from_others() {
    let gate = Gate::new(3, 5, 1); // two permits, a line of four: a share of three
    let mine = |n| {
        let place = gate.admit(Class::Interactive).expect("there is room");
        place.belong_to(workspace(n)).map(|()| place)
    };
    let _held = [mine(1), mine(1), mine(1)];
    let _other = mine(2).expect("its first");
    let refused = mine(1).expect_err("beyond its share");
    assert_eq!(refused.kind(), RATE_LIMITED);
    let _second = mine(2).expect("the refused one left its place");
}

#[actix_web::test]
async fn whoever_comes_while_one_workspace_asks_for_all_there_is_finds_a_place() {
    let gate = Gate::new(3, 5, 1); // two permits, a line of four
    let mine = |n| {
        let place = gate.admit(Class::Interactive).expect("there is room");
        place.belong_to(workspace(n)).map(|()| place)
    };
    let _held: Vec<_> = (0..5).map(|_| mine(1).expect("nobody else is here")).collect();
    for _ in 0..9 {
        let refused = mine(1).expect_err("the last one is kept for others");
        assert_eq!(refused.kind(), RATE_LIMITED);
    }
    let _other = mine(2).expect("its first");
}

#[actix_web::test]
async fn an_eighth_of_a_larger_room_is_kept_for_whoever_comes() {
    let gate = Gate::new(10, 10, 2); // eight permits, a line of sixteen
    let mine = |n| {
        let place = gate.admit(Class::Interactive).expect("there is room");
        place.belong_to(workspace(n)).map(|()| place)
    };
    let _held: Vec<_> = (0..21).map(|_| mine(1).expect("nobody else is here")).collect();
    assert_eq!(mine(1).expect_err("three are kept for others").kind(), RATE_LIMITED);
    let _others: Vec<_> = (2..5).map(|n| mine(n).expect("its first")).collect();
    assert_eq!(gate.admit(Class::Interactive).err(), Some(Full));
}

#[actix_web::test]
async fn whoever_left_a_place_comes_back_to_no_more_than_its_share() {
    let gate = Gate::new(3, 5, 1); // two permits, a line of four
    let admit = || gate.admit(Class::Interactive).expect("there is room");
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let place = admit();
            place.belong_to(workspace(1)).expect("its share");
            place.leave();
            place
        })
        .collect();
    let back: Vec<_> = slow.iter().map(|place| place.come_back().is_ok()).collect();
    assert_eq!(back, [true, true, true, true, true, false]);
    admit().belong_to(workspace(2)).expect("its first");
}

#[actix_web::test]
async fn passwords_have_places_of_their_own_and_an_account_s_permits() {
    let gate = Gate::new(5, 5, 1); // two permits for accounts
    let places: Vec<_> = (0..9)
        .map(|_| gate.admit(Class::Password).expect("there is room"))
        .collect();
    assert_eq!(gate.admit(Class::Password).err(), Some(Full));
    assert!(gate.admit(Class::Account).is_ok());
    let _held = gate
        .enter(&call(Class::Password, Some(&places[0])), None)
        .await
        .expect("goes in");
    assert_eq!(gate.hall(Class::Account).taken(), 1);
    assert_eq!(gate.turns().available_permits(), 1);
}

/// What two places say, of which the second was in line while the first was at work.
async fn spent(class: Class, pause: Duration) -> [Spent; 2] {
    let gate = narrow();
    let places = [(), ()].map(|()| gate.admit(class).expect("there is room"));
    let [first, second] = [0, 1].map(|at| call(class, Some(&places[at])));
    let ((begin, begun), (leave, left)) = (channel(), channel::<()>());
    let at_work = gate.enter(&first, None).await.expect("there is nobody");
    let at_work = at_work.work(move || begin.send(()).is_ok() && left.recv().is_err());
    begun.recv().expect("it begins");
    let at_work = at_work.within(None);
    let next = async {
        let next = gate.enter(&second, None).await.expect("it was let in");
        next.work(|| ()).within(None).await
    };
    let leaving = async {
        tokio::time::sleep(pause).await;
        drop(leave);
    };
    let (left, done, ()) = tokio::join!(at_work, next, leaving);
    assert_eq!((left, done), (Ok(true), Ok(())));
    places.map(|place| place.spent())
}

#[actix_web::test]
async fn a_place_says_how_long_it_was_in_line_and_at_work() {
    let pause = Duration::from_millis(20);
    let [first, second] = spent(Class::Interactive, pause).await;
    assert!(first.worked >= pause && second.waited >= pause);
    assert!(second.worked < first.worked);
}

#[actix_web::test]
async fn what_is_computed_was_neither_in_line_for_the_database_nor_with_it() {
    assert_eq!(
        spent(Class::Cpu, Duration::from_millis(20)).await,
        [Spent::default(); 2]
    );
}

/// A gate with room for two at work and one who is next, two at work, and what ends that when it is dropped.
async fn busy() -> (Gate, Sender<()>, [Work<()>; 2]) {
    let gate = Gate::new(3, 5, 1);
    let ((begin, begun), (end, ended)) = (channel(), channel::<()>());
    let ended = Arc::new(Mutex::new(ended));
    let mut work = Vec::new();
    for _ in 0..2 {
        let (begin, ended) = (begin.clone(), Arc::clone(&ended));
        let permit = gate.enter(&stranger(), None).await.expect("there is room");
        work.push(permit.work(move || {
            begin.send(()).expect("it is waited for");
            drop(ended.lock().map(|ended| ended.recv()));
        }));
        begun.recv().expect("it begins");
    }
    (gate, end, work.try_into().ok().expect("two"))
}

fn interactive(gate: &Gate) -> (usize, usize) {
    let mut gauges = gate.gauges();
    let (_, _, in_use, line) = gauges
        .find(|(class, ..)| *class == Class::Interactive)
        .expect("a class");
    (in_use, line)
}

#[actix_web::test]
async fn whoever_is_next_is_begun_by_whoever_is_done_and_is_in_line_until_then() {
    let (gate, end, at_work) = busy().await;
    let next = gate.enter(&stranger(), None).await.expect("one is next").work(|| 7);
    assert_eq!(interactive(&gate), (2, 1));
    let call = stranger();
    let mut waiting = Box::pin(gate.enter(&call, None));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(interactive(&gate), (2, 2));
    drop(end);
    assert_eq!(next.within(None).await, Ok(7));
    drop(waiting.await.expect("there is room again"));
    for work in at_work {
        assert_eq!(work.within(None).await, Ok(()));
    }
    assert_eq!(interactive(&gate), (0, 0));
}

#[actix_web::test]
async fn work_that_nobody_waits_for_any_longer_is_never_begun() {
    for patience in [Some(Duration::from_millis(5)), None] {
        let (gate, end, [first, second]) = busy().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let permit = gate.enter(&stranger(), None).await.expect("one is next");
        let work = permit.work({
            let begun = Arc::clone(&begun);
            move || begun.fetch_add(1, Ordering::Relaxed)
        });
        match patience {
            Some(_) => assert_eq!(work.within(patience).await, Err(Late::NotBegun)),
            None => drop(work),
        }
        let late = first.within(Some(Duration::from_millis(5))).await;
        assert_eq!(late, Err(Late::UnderWay));
        drop(end);
        assert_eq!(second.within(None).await, Ok(()));
        let last = gate.enter(&stranger(), None).await.expect("there is room");
        assert_eq!(last.work(|| ()).within(None).await, Ok(()));
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    }
}

#[actix_web::test]
async fn a_panic_reaches_whoever_waits_and_gives_the_permit_back() {
    let gate = narrow();
    let permit = gate.enter(&stranger(), None).await.expect("there is room");
    let work = permit.work(|| panic!("on purpose"));
    let panic = tokio::spawn(work.within(None)).await.expect_err("a panic").into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    assert_eq!(interactive(&gate), (0, 0));
}

#[actix_web::test]
async fn a_gate_rests_when_the_last_thread_is_done() {
    let (gate, end, at_work) = busy().await;
    let next = gate.enter(&stranger(), None).await.expect("one is next").work(|| ());
    let mut rest = Box::pin(gate.rest());
    assert!(futures_util::poll!(&mut rest).is_pending());
    drop(at_work);
    assert!(
        futures_util::poll!(&mut rest).is_pending(),
        "nobody waits for it, and it goes on"
    );
    drop(end);
    rest.await;
    assert_eq!(next.within(None).await, Ok(()));
}

#[actix_web::test]
async fn a_place_says_how_long_it_was_in_line_though_its_work_was_not_begun() {
    let (gate, _end, _at_work) = busy().await;
    let place = gate.admit(Class::Interactive).expect("there is room");
    let next = gate.enter(&call(Class::Interactive, Some(&place)), None).await;
    let patience = Duration::from_millis(20);
    let late = next.expect("one is next").work(|| ()).within(Some(patience)).await;
    assert_eq!(late, Err(Late::NotBegun));
    assert!(place.spent().waited >= patience, "{:?}", place.spent());
}
