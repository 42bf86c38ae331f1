//! Callers do not wait for each other's requests, and a restarted server loses nothing but its
//! entries.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{
    ErrorKind, Result,
    store::{Backend, Expiry, SetMode},
    testing::FakeClock,
};
use fault_tests::{timed_by, until_by};
use test_servers::Server as _;
use tokio::{task::JoinSet, time::sleep};

use crate::support::{PATIENT, at, cache, cache_by, servers, store, until};

const HOUR: Expiry = Expiry::After(Duration::from_secs(3600));

async fn put(store: &Arc<dyn Backend>, key: &str, value: &'static str) -> Result<bool> {
    store.set(key, value.into(), HOUR, SetMode::Always).await
}

/// Returns how long each of these concurrent reads took, at most.
async fn reads(store: &Arc<dyn Backend>, count: usize) -> Duration {
    let mut all = JoinSet::new();
    for i in 0..count {
        let store = Arc::clone(store);
        all.spawn(async move {
            let began = Instant::now();
            let error = store.get(&format!("p:1:k{i}")).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Unavailable));
            began.elapsed()
        });
    }
    all.join_all().await.into_iter().max().unwrap()
}

/// By the clock of the deadlines, which moves while the calls wait.
#[tokio::test]
async fn calls_to_a_frozen_server_do_not_wait_for_each_other() {
    let servers = servers(1);
    let clock = FakeClock::new();
    let more = "breaker = { enabled = false }";
    let store = cache_by(&clock, &at(&servers), more).backend().clone();
    until_by(&clock, "it is written", async || put(&store, "p:1:k", "v").await.is_ok()).await;
    // sleeps: until the cached generation expires, by the system clock
    sleep(Duration::from_millis(1200)).await;
    servers[0].freeze();
    let (_, took) = timed_by(&clock, reads(&store, 8)).await;
    servers[0].thaw();
    // One deadline is 500 ms.
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_to_a_frozen_server_open_its_breaker() {
    let servers = servers(1);
    // So long that no call is a probe.
    let store = store(&at(&servers), "breaker = { open_for = '60s' }");
    until("it is written", async || put(&store, "p:1:k", "v").await.is_ok()).await;
    // sleeps: until the cached generation expires, by the system clock
    sleep(Duration::from_millis(1200)).await;
    servers[0].freeze();
    reads(&store, 14).await;
    let mut next = Vec::new();
    for _ in 0..21 {
        next.push(reads(&store, 1).await);
        let error = store.get("p:1:k").await.unwrap_err();
        assert!(error.message().contains("circuit breaker"), "{error}");
    }
    servers[0].thaw();
    // A machine that stands still for a moment slows down one call, but not half of them.
    next.sort_unstable();
    let next = next[next.len() / 2];
    assert!(next < Duration::from_millis(100), "{next:?}, after 14 calls that failed");
}

#[test]
fn paused_runtime_does_not_block_clear_in_others() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let servers = servers(1);
    let cache = cache(&at(&servers), "key_prefix = \"p\"");
    let (first, second) = (runtime(), runtime());
    first.block_on(async {
        servers[0].freeze();
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u8>("k").await });
        // sleeps: until its request has begun, which is not visible
        sleep(Duration::from_millis(50)).await;
    });
    servers[0].thaw();
    let cleared = second
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), cache.clear()).await });
    assert!(cleared.is_ok(), "waits for a runtime that nobody drives");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_rename_does_not_block_another() {
    let servers = servers(2);
    let store = store(&at(&servers), PATIENT);
    // A source on one server, and a target on the other.
    let mut places = Vec::new();
    servers[1].kill();
    // Enough keys for both servers, whatever their ports.
    for i in 0..64 {
        let key = format!("p:1:k{i}");
        places.push((store.get(&key).await.is_err(), key));
    }
    servers[1].restart().unwrap();
    let from = &places.iter().find(|it| !it.0).unwrap().1;
    let to = &places.iter().find(|it| it.0).unwrap().1;
    until("the server is used again", async || store.get(to).await.is_ok()).await;
    assert!(put(&store, from, "v").await.unwrap() && put(&store, to, "old").await.unwrap());
    servers[1].freeze();
    let dropped = tokio::time::timeout(Duration::from_millis(200), store.rename(from, to)).await;
    servers[1].thaw();
    assert!(dropped.is_err(), "{dropped:?}");
    // A lock that remains would block this call for longer than its deadline. The entry is moved by
    // this call or was moved by the other.
    store.rename(from, to).await.unwrap();
    assert_eq!(store.get(from).await.unwrap(), None);
    assert_eq!(store.get(to).await.unwrap().unwrap(), "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn value_written_after_a_restart_stays() {
    let servers = servers(1);
    let store = store(&at(&servers), PATIENT);
    assert!(put(&store, "p:1:k", "v").await.unwrap());
    servers[0].restart().unwrap();
    let lock = async || store.set("p:1:lock", "mine".into(), HOUR, SetMode::IfAbsent).await;
    until("the lock is taken", async || lock().await.is_ok()).await;
    // sleeps: until the cached generation expires, by the system clock
    sleep(Duration::from_millis(1200)).await;
    let again = store.set("p:1:lock", "other".into(), HOUR, SetMode::IfAbsent).await.unwrap();
    assert!(!again, "two have the lock");
}
