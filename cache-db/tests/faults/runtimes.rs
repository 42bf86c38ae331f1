//! Runtimes and stores that come and go, dropped futures, and the threads of a store.

use std::{
    fs,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use cache_core::{Cache, Timeout};
use futures_util::future::join_all;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
};

use crate::{
    child::is_child,
    support::{NO_BREAKER, PATIENT, cache, text, until},
};

fn open(folder: &TempDir, options: &str) -> Cache {
    let more = format!("{PATIENT}{NO_BREAKER}[caches.default.options]\n{options}\n");
    cache(&text(&folder.path().join("cache.db")), &more).strict()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn works(cache: &Cache) {
    cache.set("works", &"value", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("works").await.unwrap().as_deref(), Some("value"));
    assert!(cache.incr_or("works-n", 1, 0, Timeout::Default).await.unwrap() > 0);
}

/// Returns the names of the store's threads in this process.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|it| fs::read_to_string(it.ok()?.path().join("comm")).ok());
    names.filter(|it| it.starts_with("cache-db-")).count()
}

/// In a process of its own, because other tests have threads, too.
#[test]
fn threads_end_with_their_store() {
    if !is_child("runtimes::threads_end_with_their_store", &["env"]) {
        return;
    }
    current_thread().block_on(async {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let cache = open(&folder, "");
            join_all((0..50).map(|_| works(&cache))).await;
            let waits = async {
                let _lock = Connection::open(folder.path().join("cache.db"))
                    .and_then(|it| it.execute_batch("BEGIN IMMEDIATE").map(|()| it));
                let calls = join_all((0..9).map(|_| cache.set("k", &1, Timeout::Default)));
                assert!(tokio::time::timeout(Duration::from_millis(5), calls).await.is_err());
            };
            waits.await;
            assert!(threads() > 0);
        }
        until("all have ended", async || threads() == 0).await;
    });
}

/// The store was dropped, but its calls still end.
#[tokio::test]
async fn waiting_calls_are_answered_when_the_handle_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "");
    works(&cache).await;
    let lock = Connection::open(folder.path().join("cache.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let calls: Vec<_> = (0..10)
        .map(|i| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.set(&format!("k{i}"), &i, Timeout::Default).await })
        })
        .collect();
    drop(cache);
    tokio::task::yield_now().await;
    drop(lock);
    for it in calls {
        it.await.unwrap().unwrap();
    }
    let cache = open(&folder, "");
    assert_eq!(cache.get_many::<i32, _>((0..10).map(|i| format!("k{i}"))).await.unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closed_store_works_again_with_the_next_call() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "");
    let tasks: Vec<_> = (0..4_u64)
        .map(|task| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for i in 0..300_u64 {
                    if i % 10 == 9 {
                        cache.close().await.unwrap();
                        continue;
                    }
                    cache.set(&format!("t{task}"), &i, Timeout::Default).await.unwrap();
                    let found = cache.get::<u64>(&format!("t{task}")).await.unwrap();
                    assert_eq!(found, Some(i));
                }
            })
        })
        .collect();
    for it in tasks {
        it.await.unwrap();
    }
    cache.close().await.unwrap();
    cache.close().await.unwrap();
}

/// After `close` the user may move the file away: the store does not open it again by itself.
#[tokio::test]
async fn closed_store_has_no_open_files() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "max_entries = 10");
    for i in 0..500 {
        cache.set(&format!("k{i}"), &i, Timeout::Default).await.unwrap();
    }
    cache.close().await.unwrap();
    let is_open = || {
        let files = fs::read_dir("/proc/self/fd").unwrap();
        let mut targets = files.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
        targets.any(|it| it.starts_with(folder.path()))
    };
    until("it is closed", async || !is_open()).await;
    // sleeps: maintenance ticks each second, and must not find work
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!is_open());
    works(&cache).await;
}

#[test]
fn one_handle_serves_two_runtimes_and_plain_threads() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                current_thread().block_on(async {
                    for _ in 0..200 {
                        cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap();
                    }
                });
            });
            scope.spawn(|| {
                for _ in 0..200 {
                    cache.blocking().incr_or("n", 1, 0, Timeout::Default).unwrap();
                }
            });
        }
    });
    assert_eq!(cache.blocking().get::<i64>("n").unwrap(), Some(800));
}

#[test]
fn runtime_that_ends_takes_only_its_own_calls_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "");
    for round in 0..10 {
        let ending = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        for _ in 0..8 {
            let cache = cache.clone();
            ending.spawn(async move {
                loop {
                    let _ = cache.get::<i64>("n").await;
                    let _ = cache.incr_or("n", 1, 0, Timeout::Default).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        ending.block_on(works(&cache));
        if round % 2 == 0 {
            ending.shutdown_background();
        } else {
            drop(ending);
        }
        current_thread().block_on(works(&cache));
    }
}

/// `block_in_place` would panic here, so direct reads do not use it.
#[test]
fn direct_reads_work_in_a_local_set_and_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "direct_reads = true");
    let multi = Builder::new_multi_thread().enable_all().build().unwrap();
    for runtime in [current_thread(), multi] {
        let local = LocalSet::new();
        let inside = cache.clone();
        let task = async move {
            tokio::task::spawn_local(async move { works(&inside).await }).await.unwrap();
        };
        runtime.block_on(local.run_until(task));
    }
    assert_eq!(cache.blocking().get::<String>("works").unwrap().as_deref(), Some("value"));
    let mut call = pin!(cache.get::<String>("works"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(Some(_)))), "it does not wait");
}

#[test]
fn many_tasks_on_one_thread_all_finish() {
    let folder = tempfile::tempdir().unwrap();
    for options in ["", "direct_reads = true", "readers = 1\nsynchronous = \"off\""] {
        let cache = open(&folder, options);
        current_thread().block_on(async {
            cache.clear().await.unwrap();
            let tasks = (0..500).map(|i: i64| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    cache.set(&format!("k{i}"), &i, Timeout::Default).await.unwrap();
                    assert_eq!(cache.get::<i64>(&format!("k{i}")).await.unwrap(), Some(i));
                    cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap()
                })
            });
            let mut counts: Vec<_> =
                join_all(tasks).await.into_iter().map(Result::unwrap).collect();
            counts.sort_unstable();
            assert_eq!(counts, (1..=500).collect::<Vec<_>>());
        });
    }
}

/// Futures dropped at any moment do not change the results of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_disturb_no_other_call() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, "");
    let tasks = (0..16_u64).map(|task| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let key = format!("k{task}");
            for i in 0..100_u64 {
                if task % 2 == 0 {
                    cache.set(&key, &i, Timeout::Default).await.unwrap();
                    assert_eq!(cache.get::<u64>(&key).await.unwrap(), Some(i));
                } else {
                    let call = async {
                        let _ = cache.incr_or(&key, 1, 0, Timeout::Default).await;
                        let _ = cache.get::<u64>(&key).await;
                    };
                    let _ = tokio::time::timeout(Duration::from_micros(i * 7 % 400), call).await;
                }
            }
        })
    });
    for it in join_all(tasks).await {
        it.unwrap();
    }
}
