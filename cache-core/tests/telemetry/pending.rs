//! Pending deletes in the log and in the metrics.

use std::time::Duration;

use cache_core::{ErrorKind, Timeout, layer::Operation, testing::Fault};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::{logged, world};

#[tokio::test]
async fn marked_key_is_not_logged_as_a_failure_of_the_store() {
    let (store, cache, time) = world("marked");
    store.inject(|call| match call.operation {
        Operation::Delete | Operation::CompareAndDelete => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cache.delete("k").await.unwrap();
    time.advance(Duration::from_secs(2));
    assert!(!cache.has_key("k").await.unwrap(), "a marked key counts as deleted");
    let log = logged();
    let lines = |words: &str| {
        log.lines().filter(|it| it.contains("\"marked\"") && it.contains(words)).count()
    };
    assert_eq!(lines("the store failed"), 1, "the event of the delete");
    let pending = "a delete is pending, and is sent again in the background";
    assert_eq!(lines(pending), 1, "{log}");
}

/// Only the global recorder sees the task in the background, so this is the only test that has one.
#[test]
fn pending_deletes_are_a_gauge_and_their_end_is_logged() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let gauge = || {
        let metrics = snapshotter.snapshot().into_vec().into_iter();
        let mut mine = metrics.filter(|(key, ..)| {
            key.key().name() == "cache_tombstones"
                && key.key().labels().any(|it| it.value() == "pending")
        });
        mine.next().map(|(.., value)| value)
    };
    let (store, cache, time) = world("pending");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        store.inject(|_| Fault::Error(ErrorKind::Unavailable));
        cache.strict().delete_many(["a", "b", "c"]).await.unwrap_err();
        let pass = async || {
            time.advance(Duration::from_secs(1));
            // sleeps: the task runs on another thread and has no event
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        // The task reports their number too, and may have counted them before the last one.
        while gauge() != Some(DebugValue::Gauge(3.0.into())) {
            pass().await;
        }
        store.heal();
        while !logged().lines().any(|it| it.contains("\"pending\"") && it.contains("no delete is"))
        {
            pass().await;
        }
    });
    assert_eq!(gauge(), Some(DebugValue::Gauge(0.0.into())));
}
