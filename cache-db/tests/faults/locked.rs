//! Another connection holds the write lock.

use std::{
    path::Path,
    pin::pin,
    time::{Duration, Instant},
};

use cache_core::{Cache, ErrorKind, Timeout, Ttl, layer::BreakerState, testing::FakeClock};
use futures_util::{FutureExt as _, future::join_all};
use rusqlite::Connection;

use crate::support::{NO_BREAKER, PATIENT, cache, cache_by, text, until};

const SHORT: &str = "deadline = \"200ms\"\n";

fn lock(path: &Path, how: &str) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(how).unwrap();
    db
}

fn at(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("cache.db")
}

async fn is_locked_out(cache: &Cache) {
    let error = cache.set("k", &"marked", Timeout::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(!format!("{error} {error:?}").contains("marked"));
    assert_eq!(
        cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    assert_eq!(cache.delete("deleted").await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn writes_wait_until_the_deadline_and_reads_work() {
    for how in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        let folder = tempfile::tempdir().unwrap();
        let open = cache(&text(&at(&folder)), &format!("{SHORT}{NO_BREAKER}"));
        let strict = open.strict();
        let patient = cache(&text(&at(&folder)), PATIENT).strict();
        patient.set("k", &1, Timeout::Default).await.unwrap();
        let held = lock(&at(&folder), how);
        is_locked_out(&strict).await;
        // However long a write waits for the lock, it waits in vain.
        assert_eq!(patient.get::<i32>("k").await.unwrap(), Some(1));
        assert_eq!(patient.get_many::<i32, _>(["k"]).await.unwrap().len(), 1);
        until("reads go on here, too", async || {
            strict.get::<i32>("k").await.is_ok_and(|it| it == Some(1))
                && strict.get_many::<i32, _>(["k"]).await.is_ok_and(|it| it.len() == 1)
        })
        .await;
        open.set("k", &2, Timeout::Default).await.unwrap();
        assert_eq!(open.get::<i32>("k").await.unwrap(), None, "what was not written is a miss");
        assert!(open.incr_or("n", 1, 0, Timeout::Default).await.is_err(), "that never fails open");
        drop(held);
        patient.set("k", &3, Timeout::Default).await.unwrap();
        assert_eq!(
            patient.incr_or("n", 1, 0, Timeout::Default).await.unwrap(),
            1,
            "none was made later"
        );
    }
}

/// The store alone, without the deadline of the facade: a write that times out says why.
#[tokio::test]
async fn writes_behind_a_lock_time_out_and_are_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let patient = cache(&text(&at(&folder)), PATIENT).backend().clone();
    patient.incr("n", 1, Some(create())).await.unwrap();
    let store = cache(&text(&at(&folder)), SHORT).backend().clone();
    until("it has opened its file", async || store.incr("n", 0, None).await.is_ok()).await;
    let held = lock(&at(&folder), "BEGIN IMMEDIATE");
    // The later writes are not yet in a transaction when the first one times out.
    let calls = (0..40).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            // sleeps: so that each waits in another group
            tokio::time::sleep(Duration::from_millis(i * 5)).await;
            store.incr("n", 1, None).await
        })
    });
    for res in join_all(calls).await {
        let error = res.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    drop(held);
    assert_eq!(patient.incr("n", 1, None).await.unwrap(), Some(2));
}

fn create() -> cache_core::store::CounterInit {
    cache_core::store::CounterInit::new(0, cache_core::store::Expiry::Never)
}

#[tokio::test]
async fn dropped_writes_are_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(&text(&at(&folder)), PATIENT).strict();
    cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap();
    let held = lock(&at(&folder), "BEGIN IMMEDIATE");
    for _ in 0..50 {
        let calls = join_all((0..10).map(|_| cache.incr("n", 1)));
        assert!(tokio::time::timeout(Duration::from_millis(1), calls).await.is_err());
    }
    drop(held);
    assert_eq!(cache.incr("n", 1).await.unwrap(), 2);
}

/// A reader of another process can keep the WAL from restarting for any time. The WAL grows
/// meanwhile, and no write waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_reader_delays_no_write() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(&text(&at(&folder)), &format!("{PATIENT}{NO_BREAKER}")).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    let reader = lock(&at(&folder), "BEGIN; SELECT count(*) FROM cache");
    for i in 0..720 {
        // SQLite writes no unchanged page.
        let value = i.to_string().repeat(100_000 / i.to_string().len());
        cache.set(&format!("k{}", i % 50), &value, Timeout::Default).await.unwrap();
    }
    let log = || std::fs::metadata(folder.path().join("cache.db-wal")).unwrap().len();
    assert!(log() > 64 << 20, "the WAL could not restart: {}", log());
    // Longer than the maintenance tick, which checks the WAL; the deadline is ten times longer.
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < Duration::from_secs(3) {
        let one = Instant::now();
        cache.set("k", &longest.subsec_nanos(), Timeout::Default).await.unwrap();
        longest = longest.max(one.elapsed());
    }
    assert!(longest < Duration::from_secs(10), "a write waited for a reader: {longest:?}");
    drop(reader);
    let mut written = 0;
    until("the log is cut", async || {
        written += 1;
        cache.set("k", &written, Timeout::Default).await.unwrap();
        log() <= 64 << 20
    })
    .await;
}

/// Longer than SQLite can wait, and longer than a clock can count.
#[tokio::test]
async fn deadline_may_be_arbitrarily_long() {
    let folder = tempfile::tempdir().unwrap();
    for deadline in ["60d", "200000000000d"] {
        for location in [text(&at(&folder)), ":memory:".into()] {
            let cache = cache(&location, &format!("deadline = \"{deadline}\"\n")).strict();
            cache.set("k", &1, Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        }
    }
}

/// With the breaker that caches have by default. The clock of the cache moves only while the writes
/// wait: the store itself ends them, before the facade would, and no read is late.
#[tokio::test]
async fn writes_that_wait_for_a_lock_do_not_open_the_breaker() {
    let folder = tempfile::tempdir().unwrap();
    let patient = cache(&text(&at(&folder)), PATIENT).strict();
    patient.set("k", &1, Timeout::Default).await.unwrap();
    until("the writer thread meets the lock in time", async || {
        reads_go_on_while_writes_wait(&at(&folder)).await
    })
    .await;
}

/// Returns `false` if the writer thread stood still until the deadline of a write, and so did not
/// meet the lock.
async fn reads_go_on_while_writes_wait(path: &Path) -> bool {
    /// More than the seven eighths of the default deadline for which a write waits, and less than
    /// the whole.
    const WAIT: Duration = Duration::from_millis(470);
    let time = FakeClock::new();
    let cache = cache_by(&time.clock(), &text(path), "").strict();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    let held = lock(path, "BEGIN IMMEDIATE");
    for _ in 0..2 {
        let writes = (0..30).map(|_| cache.set("other", &1, Timeout::Default));
        let mut writes = pin!(join_all(writes));
        assert!(writes.as_mut().now_or_never().is_none());
        // sleeps: until the writer thread waits for the lock, which is not visible
        tokio::time::sleep(Duration::from_millis(50)).await;
        time.advance(WAIT);
        for res in writes.await {
            let error = res.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            if error.to_string().contains("timed out in the queue") {
                return false;
            }
        }
        for _ in 0..10 {
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        }
        assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
    }
    drop(held);
    cache.set("other", &1, Timeout::Default).await.unwrap();
    true
}

/// The lock is held longer than the lifetime, by the clock of the cache, which stands still before
/// and after.
#[tokio::test]
async fn lifetime_begins_when_the_entry_is_written() {
    const LIFE: Duration = Duration::from_millis(1500);
    let folder = tempfile::tempdir().unwrap();
    let time = FakeClock::new();
    let cache = cache_by(&time.clock(), &text(&at(&folder)), PATIENT).strict();
    for key in ["touched", "replaced", "updated", "moved"] {
        cache.set(key, &1, Timeout::Default).await.unwrap();
    }
    let held = lock(&at(&folder), "BEGIN IMMEDIATE");
    let writes = async {
        let (set, added, replaced, touched, counted, updated, many, moved) = tokio::join!(
            cache.set("set", &1, LIFE),
            cache.add("added", &1, LIFE),
            cache.replace("replaced", &1, LIFE),
            cache.touch("touched", LIFE),
            cache.incr_or("counted", 1, 0, LIFE),
            cache.update("updated", LIFE, |it: i32| it + 1),
            cache.set_many([("many", &1)], LIFE),
            cache.incr_version("moved", 1),
        );
        set.unwrap();
        assert!(added.unwrap() && replaced.unwrap() && touched.unwrap());
        assert_eq!((counted.unwrap(), updated.unwrap()), (1, Some(2)));
        assert!(many.unwrap().is_empty());
        moved.unwrap();
        let mut left = Vec::new();
        for key in ["set", "added", "replaced", "touched", "counted", "updated", "many"] {
            left.push((key, cache.ttl(key).await.unwrap()));
        }
        left
    };
    let release = async {
        // sleeps: until all of them wait, which is not visible
        tokio::time::sleep(Duration::from_millis(100)).await;
        time.advance(LIFE * 2);
        drop(held);
    };
    let (left, ()) = tokio::join!(writes, release);
    for (key, ttl) in left {
        assert!(matches!(ttl, Some(Ttl::Remaining(it)) if it >= LIFE), "{key}: {ttl:?}");
    }
}
