//! Readers and writers of one key at the same time.

use std::{
    cell::RefCell,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::{BlockingCache, Cache, FetchSettings};
use cache_memory::Memory;
use serde::{Deserialize, Deserializer};

use crate::HOUR;

const ROUNDS: u64 = 5_000;
const READERS: usize = 3;
/// How long a reader may need until it shares a value.
const PATIENCE: Duration = Duration::from_secs(60);

/// A read that begins after a write was acknowledged returns its value or a later one.
fn check(cache: &BlockingCache, write: impl Fn(u64) + Sync) {
    let (acknowledged, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    let hits = AtomicU64::new(0);
    let start = Barrier::new(READERS + 1);
    write(0);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut last: Option<Arc<u64>> = None;
                start.wait();
                while !is_done.load(SeqCst) {
                    let before = acknowledged.load(SeqCst);
                    let found = cache.get_arc::<u64>("k").unwrap().unwrap();
                    assert!(*found >= before, "{found} after {before}");
                    if last.is_some_and(|it| Arc::ptr_eq(&it, &found)) {
                        hits.fetch_add(1, SeqCst);
                    }
                    last = Some(found);
                }
            });
        }
        start.wait();
        let began = Instant::now();
        for round in 1..=ROUNDS {
            write(round);
            acknowledged.store(round, SeqCst);
            if round % 64 == 0 {
                // A time in which a value is shared.
                for _ in 0..16 {
                    cache.get_arc::<u64>("k").unwrap().unwrap();
                }
            }
            // The readers may have had no time until now.
            while round == ROUNDS / 2 && hits.load(SeqCst) == 0 && began.elapsed() < PATIENCE {
                thread::yield_now();
            }
        }
        is_done.store(true, SeqCst);
    });
    assert!(hits.load(SeqCst) > 0, "no value was shared");
    let last = cache.get_arc::<u64>("k").unwrap().unwrap();
    assert_eq!(*last, ROUNDS);
}

#[test]
fn older_value_is_never_returned_after_a_write() {
    let cache = Cache::new("test", Memory::new()).blocking();
    check(&cache, |round| cache.set("k", &round, HOUR).unwrap());
}

#[test]
fn older_value_is_never_returned_after_an_increment() {
    let cache = Cache::new("test", Memory::new()).blocking();
    check(&cache, |round| match round {
        0 => cache.set("k", &0, HOUR).unwrap(),
        _ => assert_eq!(cache.incr("k", 1).unwrap(), i64::try_from(round).unwrap()),
    });
}

#[test]
fn older_value_is_never_returned_with_a_grace_and_tags() {
    let builder = Cache::builder(Memory::new()).tags(true);
    let cache = builder.fetch(FetchSettings::with_grace(HOUR)).build("test").unwrap().blocking();
    let tagged = cache.with_tags(["t"]);
    check(&cache, |round| {
        tagged.prime("k", |fetch| fetch.ttl(HOUR), &round).unwrap();
    });
}

thread_local! {
    /// Runs while the next [`Number`] is decoded.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = RefCell::default();
}

#[derive(Debug)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if let Some(meanwhile) = MEANWHILE.take() {
            meanwhile();
        }
        Ok(Self(number))
    }
}

/// The bytes of another write never get the value, also if the read knows nothing of the write.
#[test]
fn value_that_is_replaced_while_it_is_decoded_is_not_kept() {
    let cache = Cache::new("test", Memory::new()).blocking();
    let read = || cache.get_arc::<Number>("k").unwrap().map(|it| it.0);
    cache.set("k", &1, HOUR).unwrap();
    let writer = cache.clone();
    MEANWHILE.set(Some(Box::new(move || writer.set("k", &2, HOUR).unwrap())));
    assert_eq!((read(), read(), read()), (Some(1), Some(2), Some(2)));

    cache.set("k", &3, HOUR).unwrap();
    let writer = cache.clone();
    MEANWHILE.set(Some(Box::new(move || assert!(writer.delete("k").unwrap()))));
    assert_eq!((read(), read()), (Some(3), None));
}
