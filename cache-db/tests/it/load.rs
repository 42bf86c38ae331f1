//! Many concurrent callers: group commits, and maintenance under load.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    ErrorKind,
    store::{Backend, Expiry, SetMode},
    testing::FakeClock,
};
use futures_util::{FutureExt as _, future::join_all, task::noop_waker};
use rusqlite::Connection;

use crate::support::{PATIENT, store, store_by, text, until};

async fn set(store: &Arc<dyn Backend>, key: &str, value: &str) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.set(key, value, Expiry::Never, SetMode::Always).await.unwrap();
}

fn entries(path: &Path) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row("SELECT entries FROM cache_meta", [], |row| row.get(0)).unwrap()
}

/// Each write in a transaction returns its own result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_write_fails_no_other_in_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let store = store(&text(&path), &format!("{PATIENT}options = {{ synchronous = 'full' }}"));
    set(&store, "text", "text").await;
    set(&store, "most", &i64::MAX.to_string()).await;
    // They queue behind a lock, and are written in one group.
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let calls = (0..90).map(|i| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            match i % 3 {
                0 => store.incr("text", 1, None).await.map(|_| ()),
                1 => store.incr("most", 1, None).await.map(|_| ()),
                _ => {
                    set(&store, &format!("k{i}"), "x").await;
                    Ok(())
                }
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    tokio::task::yield_now().await;
    drop(lock);
    for (i, call) in calls.into_iter().enumerate() {
        let expected = [Some(ErrorKind::NotAnInteger), Some(ErrorKind::Overflow), None][i % 3];
        assert_eq!(call.await.unwrap().err().map(|it| it.kind()), expected, "{i}");
    }
    assert_eq!(entries(&path), 32);
    assert_eq!(store.get("text").await.unwrap().unwrap(), "text");
}

/// Bound and WAL limit hold even if there is never an idle moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn table_and_wal_stay_small_under_constant_load() {
    const BOUND: i64 = 2000;
    /// Bytes in the log: pages of the table, its index and the counters.
    const PER_WRITE: u64 = 16 << 10;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let options = format!("{PATIENT}options = {{ max_entries = {BOUND} }}");
    let store = store(&text(&path), &options);
    set(&store, "k", "").await;
    let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers = (0..4).map(|_| {
        let (store, is_over, written) =
            (Arc::clone(&store), Arc::clone(&is_over), Arc::clone(&written));
        tokio::spawn(async move {
            let mut longest = 0;
            while !is_over.load(Ordering::Relaxed) {
                let before = written.load(Ordering::Relaxed);
                store
                    .get_many(&["k", "0-1", "absent"])
                    .await
                    .into_iter()
                    .for_each(|it| drop(it.unwrap()));
                longest = longest.max(written.load(Ordering::Relaxed) - before);
            }
            longest
        })
    });
    let readers: Vec<_> = readers.collect();
    let writers = (0..32).map(|task| {
        let (store, written) = (Arc::clone(&store), Arc::clone(&written));
        tokio::spawn(async move {
            for i in 0..1200 {
                set(&store, &format!("{task}-{i}"), &"x".repeat(1000)).await;
                written.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut most, mut log, mut longest) = (0, 0, 0);
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let before = written.load(Ordering::Relaxed);
        most = most.max(entries(&path));
        longest = longest.max(written.load(Ordering::Relaxed) - before);
        log = log.max(fs::metadata(folder.path().join("cache.db-wal")).unwrap().len());
        tokio::task::yield_now().await;
    }
    is_over.store(true, Ordering::Relaxed);
    for it in join_all(writers).await {
        it.unwrap();
    }
    for it in join_all(readers).await {
        longest = longest.max(it.unwrap());
    }
    println!("at the most {most} entries, and {log} bytes in the log");
    assert!(most < 2 * BOUND, "{most} entries where {BOUND} may be");
    // While a reader stands still in a transaction, the log grows with each write.
    let more = longest * PER_WRITE;
    assert!(log < (160 << 20) + more, "the log had {log} bytes; {longest} writes beside a read");
}

/// Another program changed the counters. The table must not stay empty because of that.
#[tokio::test]
async fn wrong_counters_are_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let store = store(&text(&path), &format!("{PATIENT}options = {{ max_entries = 100 }}"));
    set(&store, "k", "1").await;
    let db = Connection::open(&path).unwrap();
    db.execute_batch("UPDATE cache_meta SET entries = 5000").unwrap();
    until("they are right", async || {
        set(&store, "k", "1").await;
        entries(&path) == 1
    })
    .await;
    assert_eq!(store.get("k").await.unwrap().unwrap(), "1");
}

/// A deadline does not pass while the clock stands still, and passes when the test moves it.
#[tokio::test]
async fn deadline_follows_the_clock_of_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let time = FakeClock::new();
    let store = store_by(&time.clock(), &text(&path), "deadline = \"1s\"\n");
    set(&store, "k", "1").await;
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut call = store.incr("k", 1, None);
    let nobody = noop_waker();
    let mut cx = Context::from_waker(&nobody);
    assert!(call.poll_unpin(&mut cx).is_pending());
    // sleeps: longer than the deadline by any other clock
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(call.poll_unpin(&mut cx).is_pending());
    time.advance(Duration::from_secs(2));
    assert_eq!(call.await.unwrap_err().kind(), ErrorKind::TimedOut);
    let mut call = store.incr("k", 1, None);
    assert!(call.poll_unpin(&mut cx).is_pending());
    drop(lock);
    assert_eq!(call.await.unwrap(), Some(2), "the first was not made");
}
