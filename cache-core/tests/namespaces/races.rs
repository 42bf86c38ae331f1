//! Many rounds of clears against reads, writes and loads.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Cache, Timeout, store::IntoBackend, testing::Model};
use cache_memory::Memory;
use tokio::sync::Barrier;

const ROUNDS: u64 = 300;
const TASKS: usize = 4;
/// A call that stands still for a moment must not fail open.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source of the values. It changes once before each clear, and once after it.
#[derive(Default)]
struct Source {
    state: AtomicU64,
    /// The tasks do not panic, because the others would wait for them.
    older: Mutex<Vec<String>>,
}

impl Source {
    fn read(&self) -> u64 {
        self.state.load(Ordering::SeqCst)
    }

    fn change(&self) {
        self.state.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the state before the last clear that has returned.
    fn cleared(&self) -> u64 {
        (self.read() | 1).saturating_sub(2)
    }

    fn check(&self, call: &str, found: u64, cleared: u64) {
        if found < cleared {
            self.older.lock().unwrap().push(format!("{call}: {found}, cleared at {cleared}"));
        }
    }
}

/// Each call that begins after a clear returned must see the state of the source before the clear,
/// while other tasks read, write and load all the time.
async fn no_call_after_a_clear_returns_an_older_value(caches: Vec<Cache>) {
    let source = Arc::new(Source::default());
    let barrier = Arc::new(Barrier::new(TASKS + 1));
    let users: Vec<_> = caches.iter().map(|it| it.namespace("users").unwrap()).collect();
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let (users, source) = (users[number % users.len()].clone(), Arc::clone(&source));
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    barrier.wait().await;
                    for _ in 0..20 {
                        calls(&users, &source).await;
                    }
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        barrier.wait().await;
        users[0].set("set", &source.read(), Timeout::Never).await.unwrap();
        source.change();
        users[0].clear().await.unwrap();
        source.change();
    }
    for task in tasks {
        task.await.unwrap();
    }
    let older = source.older.lock().unwrap();
    assert!(older.is_empty(), "{} calls returned an older value: {}", older.len(), older[0]);
}

async fn calls(users: &Cache, source: &Arc<Source>) {
    let cleared = source.cleared();
    let load = || {
        let source = Arc::clone(source);
        async move {
            let value = source.read();
            tokio::task::yield_now().await;
            value
        }
    };
    let found = users.get_or_set("loaded", Timeout::Never, load).await.unwrap();
    source.check("get_or_set", found, cleared);
    let cleared = source.cleared();
    if let Some(found) = users.get::<u64>("loaded").await.unwrap() {
        source.check("get", found, cleared);
    }
    let cleared = source.cleared();
    if let Some(found) = users.get::<u64>("set").await.unwrap() {
        source.check("get of a set", found, cleared);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_one_process_over_a_store_that_never_waits() {
    let cache = Cache::new("test", Memory::new());
    no_call_after_a_clear_returns_an_older_value(vec![cache]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_one_process_over_a_store_that_may_wait() {
    let cache = Cache::builder(Model::default()).deadline(PATIENCE).build("test").unwrap();
    no_call_after_a_clear_returns_an_older_value(vec![cache]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_two_processes_without_staleness() {
    let store = Model::default().into_backend();
    let cache = || {
        let builder = Cache::builder(Arc::clone(&store)).tag_staleness(Duration::ZERO);
        builder.deadline(PATIENCE)
    };
    let caches = [cache(), cache()].map(|it| it.build("test").unwrap());
    no_call_after_a_clear_returns_an_older_value(caches.into()).await;
}
