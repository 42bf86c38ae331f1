use std::{sync::Arc, task::Wake};

use super::*;

const LASTS: Duration = Duration::from_secs(1);
const TWO_DAYS: u64 = 2 * 24 * 60 * 60;

/// Returns tombstones for entries that may live for two days, and their clock in seconds.
fn tombstones() -> (Tombstones, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let tombstones = Tombstones::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
    tombstones.note_lifetime(Expiry::After(2 * SHORTEST_LIFE));
    (tombstones, time)
}

#[test]
fn tombstone_added_during_a_delete_is_kept() {
    let (tombstones, _) = tombstones();
    assert!(tombstones.add("k", Duration::ZERO));
    let Lookup::Claimed(pending) = tombstones.claim("k", LASTS) else { panic!("no claim") };
    assert!(matches!(tombstones.claim("k", LASTS), Lookup::Busy));
    tombstones.add("k", Duration::ZERO);
    pending.succeed();
    assert!(matches!(tombstones.claim("k", LASTS), Lookup::Claimed(_)));
}

#[test]
fn write_that_began_before_the_tombstone_does_not_remove_it() {
    let (tombstones, _) = tombstones();
    tombstones.add("a", Duration::ZERO);
    let before = tombstones.moment();
    tombstones.add("k", Duration::ZERO);
    tombstones.remove("k", before);
    assert_eq!(tombstones.len(), 2);
    tombstones.remove("k", tombstones.moment());
    assert_eq!(tombstones.len(), 1);
    tombstones.remove_all(tombstones.moment());
    assert_eq!(tombstones.len(), 0);
}

#[test]
fn superseded_tombstone_is_kept_until_its_delete_ends() {
    for (all, fails) in [(false, false), (true, false), (false, true)] {
        let (tombstones, _) = tombstones();
        tombstones.add("k", Duration::ZERO);
        let Lookup::Claimed(pending) = tombstones.claim("k", LASTS) else { panic!("no claim") };
        if all {
            tombstones.remove_all(tombstones.moment());
        } else {
            tombstones.remove("k", tombstones.moment());
        }
        assert!(matches!(tombstones.claim("k", LASTS), Lookup::Superseded), "reads may go on");
        if fails {
            drop(pending);
        } else {
            pending.succeed();
        }
        assert!(matches!(tombstones.claim("k", LASTS), Lookup::Absent));
        assert_eq!(tombstones.len(), 0);
    }
}

#[test]
fn tombstone_without_room_affects_only_its_key_until_it_is_resolved() {
    let (tombstones, time) = tombstones();
    assert!((0..MAX_TOMBSTONES).all(|n| tombstones.add(&n.to_string(), Duration::ZERO)));
    assert!(!tombstones.contains("lost"));
    assert!(!tombstones.add("lost", Duration::ZERO) && !tombstones.add("written", Duration::ZERO));
    assert!(tombstones.add("0", Duration::ZERO), "a key that has a tombstone needs no room");
    assert!(tombstones.contains("lost") && tombstones.contains("written"));
    let other = tombstones.claim("other", LASTS);
    assert!(
        matches!(other, Lookup::Absent) && !tombstones.contains("other"),
        "its write did not fail"
    );
    let Lookup::Claimed(pending) = tombstones.claim("lost", LASTS) else { panic!("no claim") };
    drop(pending);
    assert!(tombstones.contains("lost"), "nothing was removed");
    let Lookup::Claimed(pending) = tombstones.claim("lost", LASTS) else { panic!("no claim") };
    assert!(!tombstones.add("later", Duration::ZERO), "another server is still down");
    pending.succeed();
    tombstones.remove("written", tombstones.moment());
    assert!(
        !tombstones.contains("lost")
            && !tombstones.contains("written")
            && tombstones.contains("later")
    );
    assert_eq!(tombstones.len(), MAX_TOMBSTONES + 1);
    time.store(TWO_DAYS + 1, Ordering::SeqCst);
    assert!(tombstones.add("lost", Duration::ZERO), "expired tombstones make room");
    assert_eq!(tombstones.len(), 1);
    assert!(!tombstones.contains("later"));
}

#[test]
fn tombstone_expires_after_the_longest_lifetime() {
    let (tombstones, time) = tombstones();
    tombstones.add("k", LASTS);
    time.store(TWO_DAYS, Ordering::SeqCst);
    assert!(tombstones.contains("k"));
    time.store(TWO_DAYS + 1, Ordering::SeqCst);
    assert!(!tombstones.contains("k"));
    tombstones.note_lifetime(Expiry::Never);
    tombstones.add("k", LASTS);
    time.store(1 << 40, Ordering::SeqCst);
    assert!(tombstones.contains("k"), "an entry that never expires may be there");
}

#[test]
fn claim_that_is_never_dropped_expires() {
    let (tombstones, time) = tombstones();
    tombstones.add("k", Duration::ZERO);
    let Lookup::Claimed(aside) = tombstones.claim("k", LASTS) else { panic!("no claim") };
    time.store(1, Ordering::SeqCst);
    let Lookup::Claimed(next) = tombstones.claim("k", LASTS) else {
        panic!("the claim did not expire")
    };
    drop(aside);
    assert!(matches!(tombstones.claim("k", LASTS), Lookup::Busy), "the claim of the other caller");
    next.succeed();
    assert_eq!(tombstones.len(), 0);
}

#[test]
fn tombstone_lasts_at_least_a_day() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let tombstones = Tombstones::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
    tombstones.add("k", Duration::ZERO);
    time.store(TWO_DAYS / 2 - 1, Ordering::SeqCst);
    assert!(tombstones.contains("k"));
    time.store(TWO_DAYS / 2, Ordering::SeqCst);
    assert!(!tombstones.contains("k"));
}

/// Counts its wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn waiting_caller_is_woken_when_the_tombstone_is_removed() {
    type Removal = fn(&Tombstones);
    let removals: [Removal; 4] = [
        |it| it.remove("k", it.moment()),
        |it| it.remove_all(it.moment()),
        |it| drop(it.unclaimed(1, 1)),
        |it| drop(it.claim("k", LASTS)),
    ];
    for (n, remove) in removals.into_iter().enumerate() {
        let (tombstones, time) = tombstones();
        tombstones.add("k", Duration::ZERO);
        let Lookup::Claimed(_aside) = tombstones.claim("k", LASTS) else { panic!("no claim") };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut turn = std::pin::pin!(tombstones.claim_in_turn("k", LASTS));
        assert!(turn.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        // The claim and the tombstone have expired.
        time.store(TWO_DAYS + 1, Ordering::SeqCst);
        remove(&tombstones);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "removal {n}");
    }
}
