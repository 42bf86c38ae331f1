use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::Cache;
use tokio::task::JoinSet;

use super::fetch::{cache, until_idle};
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![loads_survive_a_thousand_callers_that_leave_and_fail];

const KEYS: usize = 4;
const CALLERS: usize = 1000;

/// A value that changes: what a loader returns is its version at the start of the load.
#[derive(Default)]
struct Source {
    version: AtomicU64,
    /// The number of loaders that run.
    loading: AtomicUsize,
}

/// 1,000 callers fetch, leave, fail, panic, change the source and delete. Afterwards no flight,
/// task or permit is left, and no value is older than the last delete that returned.
async fn loads_survive_a_thousand_callers_that_leave_and_fail(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let sources: Arc<[Source; KEYS]> = Arc::default();
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let (cache, sources) = (cache.clone(), Arc::clone(&sources));
        callers.spawn(async move { call(n, &cache, &sources).await });
        if n.is_multiple_of(50) {
            tokio::task::yield_now().await;
        }
    }
    while let Some(res) = callers.join_next().await {
        res.expect("a caller ended without a panic");
    }
    until_idle(&cache).await;
    for (n, source) in sources.iter().enumerate() {
        // The task of a load that no caller wants ends soon after its flight. A loader that is left
        // never ends, and the time limit of the test reports it.
        while source.loading.load(SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        let (key, version) = (format!("k{n}"), source.version.load(SeqCst));
        let found = cache.get::<u64>(&key).await?;
        assert!(
            found.is_none_or(|it| it == version),
            "key {n} has the version {found:?}, although {version} was deleted for"
        );
    }
    assert_eq!(cache.stats().active_refreshes, 0, "permits in use");
    Ok(())
}

async fn call(n: usize, cache: &Cache, sources: &Arc<[Source; KEYS]>) {
    let (place, key) = (n % KEYS, format!("k{}", n % KEYS));
    // Changes the source, then invalidates: afterwards no older value is to be seen.
    if n % 10 == 9 {
        let version = sources[place].version.fetch_add(1, SeqCst) + 1;
        cache.delete(&key).await.expect("delete");
        if let Some(found) = cache.get::<u64>(&key).await.expect("get") {
            assert!(found >= version, "version {found} after the delete of {version}");
        }
        return;
    }
    let sources = Arc::clone(sources);
    let load = move |_| async move {
        let _loading = Loading::begin(&sources, place);
        let version = sources[place].version.load(SeqCst);
        for _ in 0..n % 7 {
            tokio::task::yield_now().await;
        }
        match n % 11 {
            0 => std::panic::resume_unwind(Box::new("the loader panics")),
            1 => Err(io::Error::other("db down")),
            _ => Ok(version),
        }
    };
    let fetch = cache.fetch(&key).ttl(LONG_TIME);
    let fetch = if n.is_multiple_of(13) { fetch.force() } else { fetch };
    let fetch =
        if n.is_multiple_of(3) { fetch.hard_timeout(Duration::from_secs(20)) } else { fetch };
    let fetch = fetch.load(load);
    // A third of the callers leaves after some polls.
    let leaves = async {
        for _ in 0..n % 17 {
            tokio::task::yield_now().await;
        }
        if n % 3 != 1 {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // Its error is one of those above.
        _ = fetch => {}
        () = leaves => {}
    }
}

/// A loader that runs, until it is dropped.
struct Loading(Arc<[Source; KEYS]>, usize);

impl Loading {
    fn begin(sources: &Arc<[Source; KEYS]>, place: usize) -> Self {
        sources[place].loading.fetch_add(1, SeqCst);
        Self(Arc::clone(sources), place)
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.0[self.1].loading.fetch_sub(1, SeqCst);
    }
}
