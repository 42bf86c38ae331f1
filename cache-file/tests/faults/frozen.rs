//! A process that is stopped while it holds a lock keeps nobody longer than the deadline.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cache_core::{ErrorKind, secs};
use rustix::process::Signal;

use crate::{
    child::Child,
    place::{Place, cache, of_toml, toml},
};

fn impatient(place: &Place, deadline: &str) -> cache_core::Cache {
    let toml = toml(&place.path, "")
        .replace("20s", deadline)
        .replace("[caches.default.options]", "breaker.enabled = false\n[caches.default.options]");
    of_toml(cache_core::Clock::system(), &toml).unwrap().strict()
}

/// What is answered where the deadline is short and the machine may be slow. Who waits for the lock that is held waits in vain.
async fn in_time<T>(call: impl AsyncFn() -> cache_core::Result<T>) -> T {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(it) => return it,
            Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it is never answered");
    }
}

/// The lock is held from outside, as a stopped process would.
#[tokio::test]
async fn writers_time_out_and_readers_do_not_notice() {
    let place = Place::new();
    cache(&place.path, "").set("k", &1, secs(600)).await.unwrap();
    // So long that on a busy machine, too, the store is the first to say that time is up, and why.
    let cache = impatient(&place, "1500ms");
    let held = File::open(place.file().parent().unwrap()).unwrap();
    held.lock().unwrap();
    let began = Instant::now();
    for error in [
        cache.set("k", &2, secs(600)).await.unwrap_err(),
        cache.incr("k", 1).await.unwrap_err(),
        cache.delete("k").await.unwrap_err(),
        cache.touch("k", secs(1)).await.unwrap_err(),
        cache.clear().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("holds the lock"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(in_time(async || cache.get::<i32>("k").await).await, Some(1));
    assert!(in_time(async || cache.has_key("k").await).await);
    // Another folder's lock is another lock.
    let other = (0..100).map(|n| format!("other:{n}"));
    let mut written = 0;
    for key in other.take(20) {
        written += usize::from(cache.set(&key, &1, secs(600)).await.is_ok());
    }
    assert!(written >= 18, "{written}");
    drop(held);
    in_time(async || cache.set("k", &2, secs(600)).await).await;
}

/// Stopped wherever it happens to be, many times.
#[tokio::test]
async fn a_stopped_process_hangs_nobody() {
    let place = Place::new();
    let cache = impatient(&place, "300ms");
    let child = Child::start_in("exec >/dev/null", "write", &place.path, "");
    let mut answered = 0;
    for n in 0..20 {
        child.signal(Signal::STOP);
        let began = Instant::now();
        for key in ["small", "large"] {
            answered += usize::from(cache.get_bytes(key).await.is_ok());
            let set = cache.set_bytes(key, crate::child::pattern(n, 9000), secs(600)).await;
            answered += usize::from(set.is_ok());
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        child.signal(Signal::CONT);
        // sleeps: the child goes on, and is stopped elsewhere
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(answered > 0);
}

/// A hot key in the folder of a stopped process: those who wait for it take the threads of the others once, and no longer.
#[tokio::test]
async fn who_waits_for_a_frozen_folder_leaves_threads_to_the_others() {
    let place = Place::new();
    // Time enough for a busy machine.
    let cache = impatient(&place, "5s");
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

/// No deadline is not a deadline of nothing.
#[tokio::test]
async fn an_endless_deadline_waits() {
    let place = Place::new();
    let toml = toml(&place.path, "").replace("'20s'", "'200000000000d'");
    let cache = of_toml(cache_core::Clock::system(), &toml).unwrap().strict();
    cache.set("k", &1, secs(600)).await.unwrap();
    let held = File::open(place.file().parent().unwrap()).unwrap();
    held.lock().unwrap();
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("k", &2, secs(600)).await }
    });
    // sleeps: long enough to give up, if it did
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    drop(held);
    waiting.await.unwrap().unwrap();
}

/// A batch of thousands has as much more time, and waits for a lock in it.
#[tokio::test]
async fn a_large_batch_waits_as_long_as_it_may() {
    let place = Place::new();
    let toml = toml(&place.path, "").replace("'20s'", "'8s'");
    let cache = of_toml(cache_core::Clock::system(), &toml).unwrap().strict();
    cache.set("0", &0, secs(600)).await.unwrap();
    let held = File::open(place.file().parent().unwrap()).unwrap();
    held.lock().unwrap();
    let free = std::thread::spawn(move || {
        // sleeps: longer than one key may wait, and so much shorter than so many that a busy machine has time to write them
        std::thread::sleep(Duration::from_millis(8300));
        drop(held);
    });
    let keys: Vec<_> = (0..2500).map(|n| (n.to_string(), n)).collect();
    let failed = cache.set_many(keys.iter().map(|(k, n)| (k.as_str(), n)), secs(600)).await;
    assert!(failed.unwrap().is_empty());
    free.join().unwrap();
}

/// With the breaker that caches have by default: a hot key in a frozen folder is that key's trouble.
#[tokio::test]
async fn a_frozen_folder_opens_no_breaker_and_other_keys_are_read() {
    let place = Place::new();
    let toml = toml(&place.path, "").replace("'20s'", "'2s'");
    let cache = of_toml(cache_core::Clock::system(), &toml).unwrap().strict();
    let patient = crate::place::cache(&place.path, "");
    patient.set("hot", &1, secs(600)).await.unwrap();
    let frozen = place.file().parent().unwrap().to_owned();
    let others: Vec<_> = (0..10).map(|n| format!("other:{n}")).collect();
    for key in &others {
        patient.set(key, &1, secs(600)).await.unwrap();
    }
    let held = File::open(frozen).unwrap();
    held.lock().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let hot = (0..40).map(|_| {
        let (cache, is_over) = (cache.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut failed = 0;
            while !is_over.load(Ordering::Relaxed) {
                failed += usize::from(cache.set("hot", &2, secs(600)).await.is_err());
            }
            failed
        })
    });
    let hot: Vec<_> = hot.collect();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        for key in &others {
            assert_eq!(cache.get::<i32>(key).await.unwrap(), Some(1), "{key}");
        }
        // sleeps: so long that the writers fail many times
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for it in hot {
        failed += it.await.unwrap();
    }
    assert!(failed >= 40, "{failed}");
    drop(held);
}
