//! A child of `fork` uses inherited handles and its own caches, without any effect on its parent.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cache_core::{Cache, Caches, ErrorKind, Timeout};
use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_redis as _;
use fork_tests::{alone, in_child};
use test_servers::{Memcached, Postgres, Redis, Server as _};
use tokio::runtime::{Builder, Runtime};

/// Deadlines for slow machines.
const PATIENT: &str = "deadline = '20s'\nconnect_deadline = '20s'\n";

fn caches(backend: &str, location: &str) -> Caches {
    let text =
        format!("[caches.default]\nbackend = '{backend}'\nlocation = '{location}'\n{PATIENT}");
    Caches::from_toml(&text).unwrap()
}

fn strict(caches: &Caches) -> Cache {
    caches.get("default").unwrap().strict()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

const COUNTS: i64 = 50;

fn count(cache: &Cache) {
    let blocking = cache.blocking();
    for _ in 0..COUNTS {
        blocking.incr_or("n", 1, 0, Timeout::Default).unwrap();
    }
    let own = format!("of-{}", std::process::id());
    blocking.set(&own, &own, Timeout::Default).unwrap();
    assert_eq!(blocking.get::<String>(&own).unwrap(), Some(own));
}

async fn count_async(cache: Cache) {
    for _ in 0..COUNTS {
        cache.incr_or("n", 1, 0, Timeout::Default).await.unwrap();
    }
}

/// A thread of the parent with a runtime. It works on request and is idle otherwise.
struct Worker {
    work: mpsc::Sender<()>,
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(cache: Cache) -> Self {
        let ((work, requests), (report, done)) = (mpsc::channel(), mpsc::channel());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            for () in requests {
                runtime.block_on(count_async(cache.clone()));
                report.send(()).unwrap();
            }
        });
        Self { work, done, thread }
    }

    fn works(&self) {
        self.work.send(()).unwrap();
        self.done.recv_timeout(Duration::from_secs(200)).expect("the parent still works");
    }
}

/// The caches that a child uses.
#[derive(Clone, Copy, PartialEq)]
enum Uses {
    /// Inherited handles, and its own caches.
    All,
    Own,
}

/// Uses a store in children in all ways, while the parent uses it, too. The parent is idle at the
/// moment of the fork.
fn children_use(backend: &str, location: &str, uses: Uses) {
    let owned = caches(backend, location);
    let cache = strict(&owned);
    let worker = Worker::start(cache.clone());
    let mut owned = Some(owned);
    let parent = || {
        worker.works();
        count(&cache);
    };
    parent();
    let mut counted = 2 * COUNTS;
    let mut child = |what, own_counts, work: &mut dyn FnMut()| {
        in_child(format!("{backend}, {what}"), work, parent);
        counted += own_counts + 2 * COUNTS;
        let began = Instant::now();
        assert_eq!(cache.blocking().get::<i64>("n").unwrap(), Some(counted), "{what}");
        assert!(began.elapsed() < Duration::from_secs(10));
    };
    for _ in 0..3 {
        child("caches of its own", 2 * COUNTS, &mut || {
            let own = strict(&caches(backend, location));
            count(&own);
            runtime().block_on(count_async(own));
        });
        if uses == Uses::Own {
            continue;
        }
        child("the inherited handle, also in its own child", 3 * COUNTS, &mut || {
            count(&cache);
            in_child("a child of the child", || count(&cache), || count(&cache));
        });
        child("a runtime of the child's own", COUNTS, &mut || {
            runtime().block_on(count_async(cache.clone()));
        });
        child("nothing inherited is left", 0, &mut || drop(owned.take()));
    }
    drop(worker.work);
    worker.thread.join().unwrap();
}

#[test]
fn children_and_their_parent_use_redis() {
    alone(None, || {
        let server = Redis::start().unwrap();
        children_use("redis", &server.url(), Uses::All);
    });
}

#[test]
fn children_and_their_parent_use_memcached() {
    alone(None, || {
        let server = Memcached::start().unwrap();
        children_use("memcached", &server.address().to_string(), Uses::All);
    });
}

#[test]
fn children_and_their_parent_use_postgres() {
    alone(None, || {
        let server = Postgres::start().unwrap();
        children_use("db", &server.url(), Uses::All);
    });
}

#[test]
fn children_and_their_parent_use_a_directory() {
    alone(None, || {
        let folder = tempfile::tempdir().unwrap();
        children_use("file", folder.path().join("cache").to_str().unwrap(), Uses::All);
    });
}

/// The threads of the runtime do not run in the child, and its epoll descriptor is the parent's.
#[test]
fn inherited_runtime_is_refused_at_once() {
    alone(None, || {
        let server = Redis::start().unwrap();
        let owned = caches("redis", &server.url());
        let cache = strict(&owned);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(count_async(cache.clone()));
        in_child(
            "in the parent's runtime",
            || {
                let error = runtime.block_on(cache.get::<i64>("n")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Runtime);
                assert!(error.to_string().contains("forked"), "{error}");
            },
            || (),
        );
        assert_eq!(runtime.block_on(cache.get::<i64>("n")).unwrap(), Some(COUNTS));
    });
}
