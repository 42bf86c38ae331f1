//! Changes that had no effect because the key has a newer revision.

use std::convert::Infallible;

use cache_core::{Cache, LoadContext, secs, testing::Model};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::{logged, recorded};

/// Makes one change of each kind that is too old.
async fn refused(alias: &str) -> Cache {
    let cache = Cache::builder(Model::default()).revisions(true).build(alias).unwrap();
    assert!(cache.set_revision("k", &1, 5, secs(60)).await.unwrap());
    assert!(!cache.set_revision("k", &2, 4, secs(60)).await.unwrap());
    assert!(!cache.delete_revision("k", 4, secs(60)).await.unwrap());
    let load = |context: LoadContext| async move {
        context.revision(4);
        Ok::<_, Infallible>(2)
    };
    cache.fetch("k").force().load(load).await.unwrap();
    cache
}

#[test]
fn refused_revisions_are_counted_by_operation() {
    let recorder = DebuggingRecorder::new();
    let stats = metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { refused("shop").await.stats() })
    });
    assert_eq!(stats.revisions_refused, 3);
    assert!(format!("{stats:?}").contains("revisions_refused: 3"), "{stats:?}");
    let recorded = recorded(&recorder);
    for operation in ["set_revision", "delete_revision", "set"] {
        let name = format!("cache_revisions_refused_total alias=shop operation={operation}");
        assert_eq!(recorded.get(&name), Some(&DebugValue::Counter(1)), "{name}: {recorded:?}");
    }
}

#[tokio::test]
async fn refused_revisions_are_logged_for_debugging_only() {
    logged();
    refused("revised").await;
    let log = logged();
    let mine = log.lines().filter(|it| it.contains("alias=\"revised\""));
    let (debug, rest): (Vec<_>, Vec<_>) =
        mine.partition(|it| it.contains("DEBUG") && it.contains("the key has a newer revision"));
    assert_eq!(debug.len(), 3, "{log}");
    assert!(rest.iter().all(|it| !it.contains("WARN") && !it.contains("ERROR")), "{rest:?}");
}
