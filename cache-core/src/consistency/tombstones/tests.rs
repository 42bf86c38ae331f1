//! Marks by a clock that the tests move.

use std::{sync::Arc, task::Wake};

use super::*;

const LASTS: Duration = Duration::from_secs(1);
const TWO_DAYS: u64 = 2 * 24 * 60 * 60;

/// With a clock in seconds, and entries that may live for two days.
fn marks() -> (Marks, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let marks = Marks::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
    marks.note_lifetime(Expiry::After(2 * SHORTEST_LIFE));
    (marks, time)
}

#[test]
fn a_mark_made_during_a_delete_outlives_it() {
    let (marks, _) = marks();
    assert!(marks.mark("k", Duration::ZERO));
    let Marked::Mine(attempt) = marks.look("k", LASTS) else { panic!("not marked") };
    assert!(matches!(marks.look("k", LASTS), Marked::Busy));
    marks.mark("k", Duration::ZERO);
    attempt.succeed();
    assert!(matches!(marks.look("k", LASTS), Marked::Mine(_)));
}

#[test]
fn a_write_that_began_before_the_mark_does_not_remove_it() {
    let (marks, _) = marks();
    marks.mark("a", Duration::ZERO);
    let before = marks.now();
    marks.mark("k", Duration::ZERO);
    marks.unmark("k", before);
    assert_eq!(marks.len(), 2);
    marks.unmark("k", marks.now());
    assert_eq!(marks.len(), 1);
    marks.unmark_all(marks.now());
    assert_eq!(marks.len(), 0);
}

#[test]
fn a_delete_that_is_late_is_waited_for() {
    for (all, fails) in [(false, false), (true, false), (false, true)] {
        let (marks, _) = marks();
        marks.mark("k", Duration::ZERO);
        let Marked::Mine(attempt) = marks.look("k", LASTS) else { panic!("not marked") };
        if all {
            marks.unmark_all(marks.now());
        } else {
            marks.unmark("k", marks.now());
        }
        assert!(matches!(marks.look("k", LASTS), Marked::Late), "reads may go on");
        if fails {
            drop(attempt);
        } else {
            attempt.succeed();
        }
        assert!(matches!(marks.look("k", LASTS), Marked::No));
        assert_eq!(marks.len(), 0);
    }
}

#[test]
fn mark_without_room_concerns_its_key_alone_until_that_is_settled() {
    let (marks, time) = marks();
    assert!((0..MAX_MARKS).all(|n| marks.mark(&n.to_string(), Duration::ZERO)));
    assert!(!marks.is_marked("lost"));
    assert!(!marks.mark("lost", Duration::ZERO) && !marks.mark("written", Duration::ZERO));
    assert!(marks.mark("0", Duration::ZERO), "a key that is marked already needs no room");
    assert!(marks.is_marked("lost") && marks.is_marked("written"));
    let other = marks.look("other", LASTS);
    assert!(matches!(other, Marked::No) && !marks.is_marked("other"), "its write did not fail");
    let Marked::Mine(attempt) = marks.look("lost", LASTS) else { panic!("not marked") };
    drop(attempt);
    assert!(marks.is_marked("lost"), "nothing was removed");
    let Marked::Mine(attempt) = marks.look("lost", LASTS) else { panic!("not marked") };
    assert!(!marks.mark("later", Duration::ZERO), "another server is still down");
    attempt.succeed();
    marks.unmark("written", marks.now());
    assert!(!marks.is_marked("lost") && !marks.is_marked("written") && marks.is_marked("later"));
    assert_eq!(marks.len(), MAX_MARKS + 1);
    time.store(TWO_DAYS + 1, Ordering::SeqCst);
    assert!(marks.mark("lost", Duration::ZERO), "what has ended makes room");
    assert_eq!(marks.len(), 1);
    assert!(!marks.is_marked("later"));
}

#[test]
fn a_mark_ends_after_the_longest_lifetime() {
    let (marks, time) = marks();
    marks.mark("k", LASTS);
    time.store(TWO_DAYS, Ordering::SeqCst);
    assert!(marks.is_marked("k"));
    time.store(TWO_DAYS + 1, Ordering::SeqCst);
    assert!(!marks.is_marked("k"));
    marks.note_lifetime(Expiry::Never);
    marks.mark("k", LASTS);
    time.store(1 << 40, Ordering::SeqCst);
    assert!(marks.is_marked("k"), "an entry that never expires may be there");
}

#[test]
fn a_claim_that_nobody_gives_back_ends_by_itself() {
    let (marks, time) = marks();
    marks.mark("k", Duration::ZERO);
    let Marked::Mine(aside) = marks.look("k", LASTS) else { panic!("not marked") };
    time.store(1, Ordering::SeqCst);
    let Marked::Mine(next) = marks.look("k", LASTS) else { panic!("held for ever") };
    drop(aside);
    assert!(matches!(marks.look("k", LASTS), Marked::Busy), "the claim of another");
    next.succeed();
    assert_eq!(marks.len(), 0);
}

#[test]
fn mark_lasts_a_day_at_least() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let marks = Marks::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
    marks.mark("k", Duration::ZERO);
    time.store(TWO_DAYS / 2 - 1, Ordering::SeqCst);
    assert!(marks.is_marked("k"));
    time.store(TWO_DAYS / 2, Ordering::SeqCst);
    assert!(!marks.is_marked("k"));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn waiting_caller_is_woken_when_the_mark_is_removed() {
    type Removal = fn(&Marks);
    let removals: [Removal; 4] = [
        |it| it.unmark("k", it.now()),
        |it| it.unmark_all(it.now()),
        |it| drop(it.some(1, 1)),
        |it| drop(it.look("k", LASTS)),
    ];
    for (n, remove) in removals.into_iter().enumerate() {
        let (marks, time) = marks();
        marks.mark("k", Duration::ZERO);
        let Marked::Mine(_aside) = marks.look("k", LASTS) else { panic!("not marked") };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut turn = std::pin::pin!(marks.turn("k", LASTS));
        assert!(turn.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        // The claim is over by now, and the mark itself.
        time.store(TWO_DAYS + 1, Ordering::SeqCst);
        remove(&marks);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "removal {n}");
    }
}
