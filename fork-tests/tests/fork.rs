//! A child of `fork` uses the handles that it inherits, and caches of its own; its parent never notices.

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

/// Slow machines are slow, not wrong.
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

/// A thread of the parent with a runtime, which works whenever it is told to and rests otherwise.
struct Worker {
    work: mpsc::Sender<()>,
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(cache: Cache) -> Self {
        let ((work, is_told), (say, done)) = (mpsc::channel(), mpsc::channel());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            for () in is_told {
                runtime.block_on(count_async(cache.clone()));
                say.send(()).unwrap();
            }
        });
        Self { work, done, thread }
    }

    fn works(&self) {
        self.work.send(()).unwrap();
        self.done.recv_timeout(Duration::from_secs(60)).expect("the parent goes on");
    }
}

/// Which caches a child uses.
#[derive(Clone, Copy, PartialEq)]
enum Uses {
    /// Those that it inherits, and its own.
    All,
    Own,
}

/// All ways in which a child may use a store, while its parent uses it, too. At the moment of the fork itself the parent rests.
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

/// The runtime's threads do not run in the child, and its epoll is the parent's.
#[test]
fn a_runtime_that_a_child_inherits_is_refused_at_once() {
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
