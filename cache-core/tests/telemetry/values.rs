//! The metrics of values and of fetches.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use cache_core::{
    Cache, ErrorKind, FetchSettings,
    layer::Operation,
    secs,
    store::Inline,
    testing::{FakeClock, Fault, Faulty, Model},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::recorded;

/// Returns the metrics that the calls have recorded.
fn record(calls: impl Future<Output = ()>) -> BTreeMap<String, DebugValue> {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(calls);
    });
    recorded(&recorder)
}

#[test]
fn stale_and_absent_values_and_refreshes_have_their_own_counts() {
    let recorded = record(async {
        let time = FakeClock::new();
        let mut settings = FetchSettings::with_grace(Duration::from_secs(3600));
        settings.negative_ttl = Some(Duration::from_secs(60).into());
        let store = Arc::new(Inline::new(Model::new(time.clock())));
        let cache = Cache::builder(store).clock(time.clock()).fetch(settings);
        let cache = cache.build("shop").unwrap();
        cache.fetch("k").ttl(secs(60)).prime(&1).await.unwrap();
        let two = |_| async { Ok::<_, Infallible>(2) };
        assert_eq!(cache.fetch("k").load(two).await.unwrap(), 1);
        time.advance(Duration::from_secs(120));
        assert_eq!(cache.fetch("k").load(two).await.unwrap(), 1);
        for _ in 0..2 {
            let none = |_| async { Ok::<_, Infallible>(None::<u32>) };
            assert_eq!(cache.fetch("none").load_optional(none).await.unwrap(), None);
        }
        while cache.stats().active_refreshes > 0 {
            tokio::task::yield_now().await;
        }
    });
    let operations = "cache_operations_total alias=shop operation=fetch";
    for (name, count) in [
        (format!("{operations} outcome=hit"), 1),
        (format!("{operations} outcome=stale"), 1),
        (format!("{operations} outcome=miss"), 1),
        (format!("{operations} outcome=absent"), 1),
        ("cache_refreshes_total alias=shop result=started".to_owned(), 1),
        ("cache_loads_total alias=shop result=ok".to_owned(), 2),
    ] {
        assert_eq!(recorded.get(&name), Some(&DebugValue::Counter(count)), "{name}: {recorded:?}");
    }
}

/// Loads whose keys are deleted meanwhile, and values that the store cannot take.
#[test]
fn loaded_values_that_are_not_stored_are_counted_by_reason() {
    let recorded = record(async {
        let store = Faulty::new(Inline::new(Model::default()));
        let mut fenced = FetchSettings::default();
        fenced.fenced = Some(true);
        let process =
            |settings| Cache::builder(store.clone()).fetch(settings).build("shop").unwrap();
        let other = process(fenced);
        let delete = async |cache: &Cache| {
            cache.delete("k").await.unwrap();
        };
        for (settings, by_other) in [(fenced, true), (fenced, false), (<_>::default(), false)] {
            let cache = process(settings);
            let by = if by_other { &other } else { &cache };
            cache.get_or_set("k", secs(60), || delete(by)).await.unwrap();
            assert!(!other.has_key("k").await.unwrap());
            let owned = by.clone();
            let load = |_| async move {
                owned.delete("k").await.unwrap();
                Ok::<_, Infallible>(())
            };
            cache.fetch("k").load(load).await.unwrap();
            let batch = cache.get_or_set_many(["k", "l"], secs(60), |_| async {
                delete(by).await;
                [("k", ()), ("l", ())]
            });
            assert_eq!(batch.await.unwrap().len(), 2);
            assert!(!other.has_key("k").await.unwrap() && other.delete("l").await.unwrap());
            let stats = cache.stats();
            assert_eq!((stats.load_writes_refused, stats.load_writes_failed), (3, 0));
        }
        let cache = process(FetchSettings::default());
        store.inject(|call| match call.operation {
            Operation::Set => Fault::Error(ErrorKind::Unavailable),
            _ => Fault::None,
        });
        cache.get_or_set("k", secs(60), || async {}).await.unwrap();
        let stats = cache.stats();
        assert_eq!((stats.load_writes_refused, stats.load_writes_failed), (0, 1));
    });
    for (reason, count) in [("refused", 9), ("failed", 1)] {
        let name = format!("cache_loads_not_stored_total alias=shop reason={reason}");
        assert_eq!(recorded.get(&name), Some(&DebugValue::Counter(count)), "{name}: {recorded:?}");
    }
}

#[cfg(feature = "lz4")]
#[test]
fn bytes_are_counted_as_stored_and_before_compression() {
    let recorded = record(async {
        let store = Inline::new(Model::default());
        let cache = Cache::builder(Arc::new(store)).compression(cache_core::Compression::Lz4);
        let cache = cache.build("shop").unwrap();
        cache.set("k", &"x".repeat(4998), secs(60)).await.unwrap();
        cache.get::<String>("k").await.unwrap();
    });
    for direction in ["read", "written"] {
        let count =
            |name: &str| match recorded.get(&format!("{name} alias=shop direction={direction}")) {
                Some(DebugValue::Counter(it)) => *it,
                other => panic!("{name}: {other:?} in {:?}", recorded.keys()),
            };
        assert_eq!(count("cache_uncompressed_bytes_total"), 5000);
        assert!(count("cache_value_bytes_total") < 500);
    }
}
