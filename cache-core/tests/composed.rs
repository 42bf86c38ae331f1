//! A store that is made of the stores of other aliases, as tiers are.

#![allow(missing_docs)]

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Cache, Caches, Driver, ErrorKind, Result, Timeout,
    layer::{BreakerState, Operation},
    store::{Backend, BuildContext, Views, forward},
    testing::{FakeClock, Fault, Faulty, Model},
};

/// Reads from the near store first. All other calls go to the far store.
#[derive(Debug)]
struct Tier {
    near: Arc<dyn Backend>,
    far: Arc<dyn Backend>,
}

#[async_trait]
impl Backend for Tier {
    forward!(Backend, self.far, except get);

    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.near.get(key).await? {
            None => self.far.get(key).await,
            found => Ok(found),
        }
    }
}

const TIER: Driver = Driver::new("tier", |context: &BuildContext<'_>| {
    let (near, far) = (context.backend_of("near")?, context.backend_of("far")?);
    Ok(Arc::new(Tier { near, far }))
});

struct World {
    near: Faulty,
    far: Faulty,
    caches: Caches,
    time: FakeClock,
}

/// Returns the alias `default`, made of `near` and `far`, and `far` has other settings.
fn world(whole: &str, far_settings: &str) -> World {
    let time = FakeClock::new();
    let store = || Faulty::new(Model::new(time.clock()));
    let (near, far) = (store(), store());
    let text = format!(
        "[caches.default]\nbackend = 'tier'\n{whole}\n[caches.far]\nbackend = 'model'\n{far_settings}"
    );
    let caches = Caches::builder().driver(TIER).clock(time.clock()).toml(&text).unwrap();
    let caches = caches.backend("near", near.clone()).backend("far", far.clone());
    World { near, far, caches: caches.build().unwrap(), time }
}

impl World {
    fn cache(&self, alias: &str) -> Cache {
        self.caches.get(alias).unwrap().strict()
    }

    /// Reads through both tiers while the far store hangs. Returns the text of the error.
    async fn hang(&self, deadline: Duration) -> String {
        self.far.inject(|_| Fault::Hang);
        let cache = self.cache("default");
        // The deadline of the whole and the deadline of the part wait.
        let time = async {
            self.far.arrived(Operation::Get, 1).await;
            self.time.sleepers(2).await;
            self.time.advance(deadline);
        };
        let both = async { tokio::join!(cache.get::<i32>("k"), time) };
        let (res, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
        let error = res.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        error.to_string()
    }
}

#[tokio::test]
async fn part_has_the_deadline_and_the_breaker_of_its_alias() {
    let whole = "deadline = '10s'\nbreaker = { enabled = false }";
    let world = world(whole, "deadline = '100ms'\nbreaker = { unanswered = 1 }");
    let error = world.hang(Duration::from_millis(100)).await;
    assert!(error.contains("within 100ms"), "{error}");
    for alias in ["default", "far"] {
        let error = world.cache(alias).get::<i32>("k").await.unwrap_err();
        assert!(error.to_string().contains("breaker is open"), "{alias}: {error}");
    }
    assert_eq!(world.far.calls(Operation::Get), 1, "an alias has its own breaker of the part");
    assert_eq!(world.cache("far").stats().breaker, Some(BreakerState::Open));
    assert_eq!(world.cache("near").stats().breaker, Some(BreakerState::Closed));
    assert_eq!(world.cache("default").stats().breaker, None);
}

#[tokio::test]
async fn store_of_parts_has_its_own_deadline_and_breaker() {
    let whole = "deadline = '50ms'\nbreaker = { unanswered = 1 }";
    let world = world(whole, "deadline = '10s'");
    let error = world.hang(Duration::from_millis(50)).await;
    assert!(error.contains("within 50ms"), "{error}");
    assert_eq!(world.cache("default").stats().breaker, Some(BreakerState::Open));
    assert_eq!(world.cache("far").stats().breaker, Some(BreakerState::Closed));
    world.far.heal();
    let error = world.cache("default").get::<i32>("k").await.unwrap_err();
    assert!(error.to_string().contains("breaker is open"), "{error}");
    assert_eq!(world.near.calls(Operation::Get), 1, "the parts were not asked");
    assert_eq!(world.cache("far").get::<i32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn part_is_retried_by_the_settings_of_its_alias() {
    let world = world("", "retry = { retries = 1, backoff = 0 }");
    let fails = AtomicBool::new(true);
    world.far.inject(move |_| {
        if fails.swap(false, SeqCst) { Fault::Error(ErrorKind::Unavailable) } else { Fault::None }
    });
    assert_eq!(world.cache("default").get::<i32>("k").await.unwrap(), None);
    assert_eq!((world.near.calls(Operation::Get), world.far.calls(Operation::Get)), (1, 2));
}

#[tokio::test]
async fn store_that_keeps_the_id_of_its_part_shares_the_loads_of_the_part() {
    let world = world("", "");
    let (whole, far) = (world.cache("default"), world.cache("far"));
    assert_eq!(whole.backend().id(), far.backend().id());
    let loads = Cell::new(0);
    let load = || async {
        loads.set(loads.get() + 1);
        tokio::task::yield_now().await;
        7
    };
    let (one, two) = tokio::join!(
        whole.get_or_set("k", Timeout::Default, load),
        far.get_or_set("k", Timeout::Default, load)
    );
    assert_eq!((one.unwrap(), two.unwrap(), loads.get()), (7, 7, 1));
}

#[cfg(feature = "metrics")]
#[test]
fn call_is_observed_once_for_each_alias() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = world("", "");
        runtime.block_on(world.cache("default").get::<i32>("k")).unwrap();
    });
    let mut calls = Vec::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let (_, key) = key.into_parts();
        if let DebugValue::Histogram(durations) = value
            && key.name() == "cache_store_call_duration_seconds"
        {
            let alias = key.labels().find(|it| it.key() == "alias").unwrap();
            calls.push((alias.value().to_owned(), durations.len()));
        }
    }
    calls.sort();
    let once = ["default", "far", "near"].map(|alias| (alias.to_owned(), 1));
    assert_eq!(calls, once);
}
