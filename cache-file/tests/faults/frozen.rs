//! A process that is stopped while it holds a lock keeps nobody longer than the deadline.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use cache_core::{ErrorKind, secs};
use rustix::process::Signal;

use crate::{
    child::Child,
    place::{Place, of_toml, toml},
};

fn impatient(place: &Place) -> cache_core::Cache {
    let toml = toml(&place.path, "")
        .replace("'20s'", "'300ms'")
        .replace("[caches.default.options]", "breaker.enabled = false\n[caches.default.options]");
    of_toml(cache_core::Clock::system(), &toml).unwrap().strict()
}

/// The lock is held from outside, as a stopped process would.
#[tokio::test]
async fn writers_time_out_and_readers_do_not_notice() {
    let place = Place::new();
    let cache = impatient(&place);
    cache.set("k", &1, secs(600)).await.unwrap();
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
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    assert!(cache.has_key("k").await.unwrap());
    // Another folder's lock is another lock.
    let other = (0..100).map(|n| format!("other:{n}"));
    let mut written = 0;
    for key in other.take(20) {
        written += usize::from(cache.set(&key, &1, secs(600)).await.is_ok());
    }
    assert!(written >= 18, "{written}");
    drop(held);
    cache.set("k", &2, secs(600)).await.unwrap();
}

/// Stopped wherever it happens to be, many times.
#[tokio::test]
async fn a_stopped_process_hangs_nobody() {
    let place = Place::new();
    let cache = impatient(&place);
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
