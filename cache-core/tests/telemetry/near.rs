//! Reads through a near tier, and the changes that its store reports.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, Error, ErrorKind, NearInvalidation, NearSettings, secs,
    store::{
        Backend, Heartbeat, Invalidation, InvalidationReceiver, Invalidations, Namespace, Views,
        forward,
    },
    testing::{Faulty, Model},
};
use cache_memory as _;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::sync::mpsc;

use crate::{logged, recorded};

/// A store that reports changes to this channel's receiver.
#[derive(Debug)]
struct Reporting(Faulty, Arc<Stream>);

#[derive(Debug)]
struct Stream(mpsc::UnboundedSender<InvalidationReceiver>, Mutex<bool>);

#[async_trait]
impl Backend for Reporting {
    forward!(Backend, self.0);

    fn views(self: Arc<Self>) -> Views {
        Views::none().with_invalidations(Arc::clone(&self.1) as _)
    }
}

#[async_trait]
impl Invalidations for Stream {
    fn ways(&self) -> &[NearInvalidation] {
        &[NearInvalidation::Tracking]
    }
    async fn listen(&self, _: &Namespace, receiver: InvalidationReceiver) -> Error {
        let was_first = std::mem::replace(&mut *self.1.lock().unwrap(), false);
        if !was_first {
            self.0.send(receiver).unwrap();
            std::future::pending::<()>().await;
        }
        Error::new(ErrorKind::Unavailable, "connection refused")
    }
}

/// The lag that the store reports.
const LAG: Duration = Duration::from_millis(2);

/// Makes a bypassed read, a miss, two hits, a change, two resets and a heartbeat.
async fn used(alias: &str) -> Cache {
    let (receivers, mut attempts) = mpsc::unbounded_channel();
    let stream = Arc::new(Stream(receivers, Mutex::new(true)));
    let store = Reporting(Faulty::new(Model::default()), stream);
    let cache = Cache::builder(store).near(NearSettings::default()).build(alias).unwrap();
    cache.set("k", &1, secs(60)).await.unwrap();
    cache.get::<i32>("k").await.unwrap();
    let receive = attempts.recv().await.unwrap();
    receive(Invalidation::Ready(NearInvalidation::Tracking));
    for _ in 0..3 {
        cache.get::<i32>("k").await.unwrap();
    }
    receive(Invalidation::Key(":1:k"));
    receive(Invalidation::All);
    receive(Invalidation::Heartbeat(Heartbeat { lag: LAG, valid_until: Duration::MAX }));
    cache
}

#[test]
fn near_reads_changes_and_resets_are_counted() {
    let recorder = DebuggingRecorder::new();
    // The library's own runtime does not see this recorder, but the messages are sent here.
    let stats = metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { used("counted").await.stats() })
    });
    let near = stats.near.unwrap();
    assert_eq!((near.hits, near.misses, near.bypassed), (2, 1, 1));
    assert_eq!((near.invalidations, near.resets), (1, 2));
    assert_eq!(near.lag, Some(LAG));
    assert!(format!("{stats:?}").contains("near: NearStats { hits: 2"), "{stats:?}");
    let recorded = recorded(&recorder);
    for (name, count) in [
        ("cache_near_reads_total alias=counted result=hit", 2),
        ("cache_near_reads_total alias=counted result=miss", 1),
        ("cache_near_reads_total alias=counted result=bypassed", 1),
        ("cache_near_invalidations_total alias=counted", 1),
        ("cache_near_resets_total alias=counted", 2),
    ] {
        assert_eq!(recorded.get(name), Some(&DebugValue::Counter(count)), "{name}: {recorded:?}");
    }
    let lag = recorded.get("cache_near_lag_seconds alias=counted");
    let expected = DebugValue::Histogram(vec![LAG.as_secs_f64().into()]);
    assert_eq!(lag, Some(&expected), "{recorded:?}");
}

#[tokio::test]
async fn state_of_the_tier_is_logged() {
    logged();
    used("told").await;
    let log = logged();
    for (level, text) in [
        ("WARN", "the near tier is bypassed until the store reports changes again"),
        ("INFO", "the near tier is in use"),
    ] {
        let mine = |it: &&str| it.contains("alias=\"told\"") && it.contains(text);
        let lines: Vec<_> = log.lines().filter(mine).collect();
        assert!(lines.len() == 1 && lines[0].contains(level), "{text}: {lines:?}");
    }
}
