//! Concurrent callers: each operation is atomic.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use cache_core::store::{CounterInit, Expected, Expiry, SetMode, SyncBackend, TtlUpdate};
use cache_memory::Memory;

use crate::{get, text};

const THREADS: usize = 8;
const ROUNDS: usize = 200;
/// Longer than a test takes on any machine.
const HOUR: Expiry = Expiry::After(Duration::from_secs(3600));

fn put(memory: &Memory, key: &str, value: &str) {
    assert!(memory.set(key, text(value), HOUR, SetMode::Always).unwrap());
}

/// Runs `call(thread, round)` on all threads at once, round by round, and `check(round)` after each
/// round. A panic ends the race on all threads; otherwise the others would wait at the barrier for
/// ever.
fn race(call: impl Fn(usize, usize) + Sync, check: impl Fn(usize) + Sync) {
    let (barrier, failed) = (Barrier::new(THREADS), AtomicBool::new(false));
    let tried = |part: &dyn Fn()| {
        if catch_unwind(AssertUnwindSafe(part)).is_err() {
            failed.store(true, Ordering::SeqCst);
        }
    };
    let run = |thread| {
        for round in 0..ROUNDS {
            barrier.wait();
            tried(&|| call(thread, round));
            if barrier.wait().is_leader() {
                tried(&|| check(round));
            }
            barrier.wait();
            if failed.load(Ordering::SeqCst) {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let run = &run;
        for thread in 0..THREADS {
            scope.spawn(move || run(thread));
        }
    });
    assert!(!failed.load(Ordering::SeqCst), "the panics are above");
}

#[test]
fn concurrent_increments_are_all_counted() {
    let memory = Memory::new();
    put(&memory, "n", "0");
    race(
        |_, _| (0..50).for_each(|_| assert!(memory.incr("n", 1, None).unwrap().is_some())),
        |round| {
            assert_eq!(get(&memory, "n"), Some(text(&(50 * THREADS * (round + 1)).to_string())));
        },
    );
}

#[test]
fn concurrent_increments_create_a_counter_once() {
    let memory = Memory::new();
    let create = Some(CounterInit::new(100, HOUR));
    race(
        |_, round| assert!(memory.incr(&format!("n{round}"), 1, create).unwrap().is_some()),
        |round| assert_eq!(get(&memory, &format!("n{round}")), Some(text("108"))),
    );
}

#[test]
fn concurrent_adds_have_one_winner_and_its_value_stays() {
    let memory = Memory::new();
    let (winners, winner) = (AtomicUsize::new(0), AtomicUsize::new(0));
    race(
        |thread, round| {
            let value = text(&thread.to_string());
            if memory.set(&format!("k{round}"), value, HOUR, SetMode::IfAbsent).unwrap() {
                winners.fetch_add(1, Ordering::SeqCst);
                winner.store(thread, Ordering::SeqCst);
            }
        },
        |round| {
            assert_eq!(winners.swap(0, Ordering::SeqCst), 1);
            let won = winner.load(Ordering::SeqCst).to_string();
            assert_eq!(get(&memory, &format!("k{round}")), Some(text(&won)));
        },
    );
}

#[test]
fn concurrent_takes_have_one_winner() {
    let memory = Memory::new();
    let winners = AtomicUsize::new(0);
    put(&memory, "k0", "1");
    race(
        |_, round| {
            if memory.take(&format!("k{round}")).unwrap().is_some() {
                winners.fetch_add(1, Ordering::SeqCst);
            }
        },
        |round| {
            assert_eq!(winners.swap(0, Ordering::SeqCst), 1);
            put(&memory, &format!("k{}", round + 1), "1");
        },
    );
}

#[test]
fn concurrent_compare_and_set_loses_no_update() {
    let memory = Memory::new();
    put(&memory, "n", "0");
    race(
        |_, _| {
            loop {
                let old = get(&memory, "n").unwrap();
                let n: usize = std::str::from_utf8(&old).unwrap().parse().unwrap();
                let new = text(&(n + 1).to_string());
                if memory.compare_and_set("n", Expected::value(&old), new, TtlUpdate::Keep).unwrap()
                {
                    break;
                }
            }
        },
        |round| assert_eq!(get(&memory, "n"), Some(text(&(THREADS * (round + 1)).to_string()))),
    );
}

/// Half of the threads add, the other half delete: successful adds and deletes alternate.
#[test]
fn successful_adds_and_deletes_alternate() {
    let memory = Memory::new();
    let balance = AtomicI64::new(0);
    race(
        |thread, _| {
            for _ in 0..20 {
                let done = if thread % 2 == 0 {
                    memory.set("k", text("1"), HOUR, SetMode::IfAbsent).unwrap()
                } else if thread % 4 == 1 {
                    memory.delete("k").unwrap()
                } else {
                    memory.compare_and_delete("k", Expected::value(b"1")).unwrap()
                };
                if done {
                    balance.fetch_add(if thread % 2 == 0 { 1 } else { -1 }, Ordering::SeqCst);
                }
            }
        },
        |_| {
            let exists = i64::from(memory.has("k").unwrap());
            assert_eq!(balance.load(Ordering::SeqCst), exists);
        },
    );
}

/// A replace that runs after a delete must not restore the entry.
#[test]
fn replace_and_touch_never_restore_a_deleted_entry() {
    let memory = Memory::new();
    put(&memory, "k", "0");
    race(
        |thread, _| match thread {
            0 => assert!(memory.delete("k").unwrap()),
            1 | 2 => drop(memory.touch("k", HOUR).unwrap()),
            3 => drop(memory.incr("k", 1, None).unwrap()),
            _ => drop(memory.set("k", text("1"), HOUR, SetMode::IfPresent).unwrap()),
        },
        |_| {
            assert_eq!(get(&memory, "k"), None);
            put(&memory, "k", "0");
        },
    );
}

/// The source is incremented while it is renamed: each increment is in the target, or its caller
/// learned that the source is absent.
#[test]
fn concurrent_rename_loses_no_increment() {
    let memory = Memory::new();
    let counted = AtomicUsize::new(0);
    put(&memory, "from0", "0");
    race(
        |thread, round| {
            let (from, to) = (format!("from{round}"), format!("to{round}"));
            if thread == 0 {
                assert!(memory.rename(&from, &to).unwrap());
                return;
            }
            while memory.incr(&from, 1, None).unwrap().is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        },
        |round| {
            let counted = counted.swap(0, Ordering::SeqCst).to_string();
            assert_eq!(get(&memory, &format!("to{round}")), Some(text(&counted)));
            assert_eq!(get(&memory, &format!("from{round}")), None);
            put(&memory, &format!("from{}", round + 1), "0");
        },
    );
}

/// Renames in both directions between the same keys finish, and the single entry is never lost or
/// duplicated.
#[test]
fn crossing_renames_do_not_deadlock() {
    let memory = Memory::new();
    put(&memory, "0", "v");
    race(
        |thread, _| {
            for n in 0..20 {
                let (from, to) = ((thread + n) % 5, (thread * 3 + n + 1) % 5);
                if from != to {
                    memory.rename(&from.to_string(), &to.to_string()).unwrap();
                }
            }
        },
        |_| {
            let left = (0..5).filter(|it: &usize| memory.has(&it.to_string()).unwrap()).count();
            assert_eq!((left, memory.len()), (1, 1));
        },
    );
}

/// While a key is written in every way, a reader sees the old or the new value, and always one of
/// them.
#[test]
fn reader_sees_the_old_or_the_new_value_during_writes() {
    let memory = Memory::new();
    put(&memory, "k", "a");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let value = get(&memory, "k").expect("a value");
                    assert!(value.windows(2).all(|it| it[0] == it[1]), "{value:?}");
                }
            });
        }
        for n in 0..20_000_usize {
            let new = vec![b'a' + u8::try_from(n % 20).unwrap(); n % 300 + 1];
            match n % 3 {
                0 => drop(memory.touch("k", HOUR).unwrap()),
                1 => drop(memory.set("k", new.into(), HOUR, SetMode::IfPresent).unwrap()),
                _ => {
                    let old = get(&memory, "k").unwrap();
                    let seen = Expected::value(&old);
                    assert!(
                        memory.compare_and_set("k", seen, new.into(), TtlUpdate::Keep).unwrap()
                    );
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Writes, evictions, expiry and clearing at once; afterwards the counts are still correct.
#[test]
fn concurrent_operations_of_all_kinds_keep_the_bounds() {
    let memory = Memory::builder().max_entries(2000).max_bytes(1 << 20).build().unwrap();
    race(
        |thread, round| {
            for n in 0..100 {
                let key = format!("k{}", (thread * 31 + round * 17 + n * 7) % 5000);
                let expiry =
                    if n % 2 == 0 { HOUR } else { Expiry::After(Duration::from_micros(50)) };
                match n % 10 {
                    0 => drop(memory.take(&key).unwrap()),
                    1 => drop(memory.touch(&key, expiry).unwrap()),
                    2 => drop(memory.rename(&key, "one").unwrap()),
                    3 if round % 50 == 0 => memory.clear_store().unwrap(),
                    4 | 5 => drop(get(&memory, &key)),
                    _ => drop(
                        memory.set(&key, vec![0; n * 10].into(), expiry, SetMode::Always).unwrap(),
                    ),
                }
            }
        },
        |_| assert!(memory.len() <= 2000 && memory.bytes() <= 1 << 20),
    );
    memory.clear_store().unwrap();
    assert_eq!((memory.len(), memory.bytes()), (0, 0));
}
