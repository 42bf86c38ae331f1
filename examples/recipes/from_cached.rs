//! Coming from the crate `cached`: a function with its macro, and the same function with a cache.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use cache_core::{Caches, cache, install, secs, testing::FakeClock};
use cache_memory as _;
use cached::macros::cached;
use futures_util::future::join_all;

mod before {
    use super::{Closed, ask_the_shop, cached};

    // ANCHOR: before
    #[cached(ttl_secs = 60)]
    pub(crate) async fn price(thing: String) -> Result<u64, Closed> {
        ask_the_shop(&thing).await
    }
    // ANCHOR_END: before
}

mod after {
    use super::{ask_the_shop, cache, secs};

    // ANCHOR: after
    pub(crate) async fn price(thing: String) -> cache_core::Result<u64> {
        let key = format!("price:{thing}");
        let load = |_| async move { ask_the_shop(&thing).await };
        cache().fetch(&key).ttl(secs(60)).load(load).await
    }
    // ANCHOR_END: after
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> cache_core::Result<()> {
    let time = FakeClock::new();
    let settings = "caches.default = { backend = 'memory', fetch.grace = '1h' }";
    install(Caches::builder().toml(settings)?.clock(time.clock()).build()?)?;
    let tea = || "tea".to_owned();

    let prices = join_all((0..10).map(|_| before::price(tea()))).await;
    assert!(prices.iter().all(|it| *it == Ok(3)));
    assert_eq!(QUESTIONS.swap(0, Ordering::Relaxed), 10, "each caller runs the function");

    let prices = join_all((0..10).map(|_| after::price(tea()))).await;
    assert!(prices.iter().all(|it| matches!(it, Ok(3))));
    assert_eq!(QUESTIONS.swap(0, Ordering::Relaxed), 1);

    // The shop does not answer. The old price is served, and each caller gets an answer at once.
    IS_CLOSED.store(true, Ordering::Relaxed);
    time.advance(Duration::from_secs(90));
    assert_eq!(after::price(tea()).await?, 3);
    let error = after::price("coffee".to_owned()).await.unwrap_err();
    assert_eq!(error.loader::<Closed>(), Some(&Closed));
    println!("10 callers at once: 10 questions to the shop with the macro, 1 with the cache");
    Ok(())
}

static QUESTIONS: AtomicUsize = AtomicUsize::new(0);
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Debug, PartialEq)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shop is closed")
    }
}

/// Stands for a request over the network.
async fn ask_the_shop(thing: &str) -> Result<u64, Closed> {
    QUESTIONS.fetch_add(1, Ordering::Relaxed);
    tokio::task::yield_now().await;
    if IS_CLOSED.load(Ordering::Relaxed) { Err(Closed) } else { Ok(thing.len() as u64) }
}
