//! A stopped process that holds a lock delays other calls no longer than their deadline.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{Clock, ErrorKind, secs};
use rustix::process::Signal;

use crate::{
    child::Child,
    place::{Place, cache, of_toml, still_clock, toml},
};

/// Returns a cache with this deadline and without a breaker.
fn with_deadline(clock: Clock, place: &Place, deadline: &str) -> cache_core::Cache {
    let toml = toml(&place.path, "")
        .replace("20s", deadline)
        .replace("[caches.default.options]", "breaker.enabled = false\n[caches.default.options]");
    of_toml(clock, &toml).unwrap().strict()
}

/// Repeats a call that does not need the held lock until it succeeds. On a slow machine, it may
/// exceed a short deadline.
async fn in_time<T>(call: impl AsyncFn() -> cache_core::Result<T>) -> T {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(it) => return it,
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the call never succeeds");
    }
}

/// The test holds the lock like a stopped process.
#[tokio::test]
async fn writes_time_out_and_reads_continue_while_a_lock_is_held() {
    let place = Place::new();
    cache(&place.path, "").set("k", &1, secs(600)).await.unwrap();
    let cache = with_deadline(still_clock().clock(), &place, "3s");
    let held = File::open(place.file().parent().unwrap()).unwrap();
    held.lock().unwrap();
    let began = Instant::now();
    for error in [
        cache.set("k", &2, secs(600)).await.unwrap_err(),
        cache.incr("k", 1).await.unwrap_err(),
        cache.touch("k", secs(1)).await.unwrap_err(),
        cache.clear().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("holds the lock"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(in_time(async || cache.get::<i32>("k").await).await, Some(1));
    assert!(in_time(async || cache.has_key("k").await).await);
    // Other folders have their own locks.
    let other = (0..100).map(|n| format!("other:{n}"));
    let mut written = 0;
    for key in other.take(20) {
        written += usize::from(cache.set(&key, &1, secs(600)).await.is_ok());
    }
    assert!(written >= 18, "{written}");
    // A delete that failed is sent again, and until then no call here reads the value.
    let error = cache.delete("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(cache.get::<i32>("k").await.is_err());
    drop(held);
    in_time(async || cache.set("k", &2, secs(600)).await).await;
}

/// Stops a process many times, at any point of a write.
#[tokio::test]
async fn stopped_process_does_not_hang_other_processes() {
    let place = Place::new();
    let cache = with_deadline(Clock::system(), &place, "300ms");
    let child = Child::start_in("exec >/dev/null", "write", &place.path, "");
    let (mut answered, mut in_time) = (0, 0);
    for n in 0..20 {
        child.signal(Signal::STOP);
        let began = Instant::now();
        for key in ["small", "large"] {
            answered += usize::from(cache.bytes().get(key).await.is_ok());
            let set = cache.bytes().set(key, &crate::child::pattern(n, 9000), secs(600)).await;
            answered += usize::from(set.is_ok());
        }
        // A machine that stands still delays a few of the rounds.
        in_time += usize::from(began.elapsed() < Duration::from_secs(3));
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        child.signal(Signal::CONT);
        // sleeps: the child continues, and is stopped at another point
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(answered > 0);
    assert!(in_time >= 15, "only {in_time} of 20 rounds took no longer than the deadlines");
}

/// Calls for a hot key in the folder of a stopped process use the threads for one deadline only.
#[tokio::test]
async fn calls_that_wait_for_a_held_lock_leave_threads_for_other_folders() {
    let place = Place::new();
    let cache = with_deadline(still_clock().clock(), &place, "8s");
    cache.set("hot", &1, secs(600)).await.unwrap();
    let frozen = place.file().parent().unwrap().to_owned();
    let held = File::open(frozen).unwrap();
    held.lock().unwrap();
    let hot = (0..64).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { while cache.set("hot", &2, secs(600)).await.is_err() {} })
    });
    let hot: Vec<_> = hot.collect();
    assert!(cache.set("hot", &2, secs(600)).await.is_err());
    assert!(cache.set("hot", &2, secs(600)).await.is_err());
    let mut written = 0;
    for n in 0..100 {
        written += usize::from(cache.set(&format!("other:{n}"), &n, secs(600)).await.is_ok());
    }
    assert!(written >= 95, "{written} of 100");
    drop(held);
    for it in hot {
        it.await.unwrap();
    }
}

/// An endless deadline must not overflow to a deadline of zero.
#[tokio::test]
async fn write_with_an_endless_deadline_waits_for_the_lock() {
    let place = Place::new();
    let toml = toml(&place.path, "").replace("'20s'", "'200000000000d'");
    let cache = of_toml(Clock::system(), &toml).unwrap().strict();
    cache.set("k", &1, secs(600)).await.unwrap();
    let held = File::open(place.file().parent().unwrap()).unwrap();
    held.lock().unwrap();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("k", &2, secs(600)).await }
    });
    // sleeps: gives a wrong deadline the time to pass
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    drop(held);
    waiting.await.unwrap().unwrap();
}

/// A batch has one deadline per thousand keys.
#[tokio::test]
async fn large_batch_waits_for_a_lock_longer_than_one_deadline() {
    let place = Place::new();
    let patient = cache(&place.path, "").strict();
    let toml = toml(&place.path, "").replace("'20s'", "'8s'");
    let cache = of_toml(Clock::system(), &toml).unwrap().strict();
    let keys: Vec<_> = (0..2001).map(|n| (n.to_string(), n)).collect();
    let items = || keys.iter().map(|(k, n)| (k.as_str(), n));
    // On a busy machine, overwriting is much faster than creating files.
    assert!(patient.set_many(items(), secs(600)).await.unwrap().is_empty());
    let held = File::open(place.files()[0].parent().unwrap()).unwrap();
    held.lock().unwrap();
    let free = std::thread::spawn(move || {
        // sleeps: longer than one deadline, and much shorter than three
        std::thread::sleep(Duration::from_millis(8300));
        drop(held);
    });
    let failed = cache.set_many(items(), secs(600)).await;
    assert!(failed.unwrap().is_empty());
    free.join().unwrap();
}

/// The default breaker must not open because of a hot key in a locked folder. The clock of the
/// deadlines stands still during calls for other keys, none of which is late.
#[tokio::test]
async fn held_lock_does_not_open_the_breaker_for_other_keys() {
    const PAUSE: Duration = Duration::from_millis(20);
    let (place, clock) = (Place::new(), still_clock());
    let toml = toml(&place.path, "").replace("'20s'", "'2s'");
    let cache = of_toml(clock.clock(), &toml).unwrap().strict();
    let patient = crate::place::cache(&place.path, "");
    patient.set("hot", &1, secs(600)).await.unwrap();
    let frozen = place.file().parent().unwrap().to_owned();
    let others: Vec<_> = (0..10).map(|n| format!("other:{n}")).collect();
    for key in &others {
        patient.set(key, &1, secs(600)).await.unwrap();
    }
    let held = File::open(frozen).unwrap();
    held.lock().unwrap();
    let failed = Arc::new(AtomicUsize::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let hot = (0..40).map(|_| {
        let cache = cache.clone();
        let (failed, is_over) = (Arc::clone(&failed), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let set = cache.set("hot", &2, secs(600)).await;
                failed.fetch_add(usize::from(set.is_err()), Ordering::Relaxed);
            }
        })
    });
    let hot: Vec<_> = hot.collect();
    let began = Instant::now();
    // The first 40 calls fail after one deadline, then each task fails many times.
    while failed.load(Ordering::Relaxed) < 400 {
        assert!(began.elapsed() < Duration::from_secs(300), "the writes do not fail");
        for key in &others {
            assert_eq!(cache.get::<i32>(key).await.unwrap(), Some(1), "{key}");
        }
        // sleeps: leaves the processor to the writers
        tokio::time::sleep(PAUSE).await;
        clock.advance(PAUSE);
    }
    is_over.store(true, Ordering::Relaxed);
    for task in hot {
        task.await.unwrap();
    }
    drop(held);
}
