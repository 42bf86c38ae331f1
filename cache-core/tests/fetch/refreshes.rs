//! Loads in the background.

use std::{future::pending, io, sync::Arc, time::Duration};

use cache_core::{
    Cache, FetchOutcome, FetchSettings, Loaded, RefreshAhead, Staleness, Timeout,
    store::Inline,
    testing::{FakeClock, Model},
};

use crate::{HOUR, MINUTE, SECOND, Source, fails, run_tasks, value, world, world_with};

fn why(outcome: &FetchOutcome) -> &Staleness {
    let FetchOutcome::Stale { why, .. } = outcome else { panic!("{outcome:?}") };
    why
}

#[tokio::test]
async fn no_more_refreshes_run_than_are_allowed() {
    let (_, cache, time) = world_with(|it| it.max_refreshes = 2);
    for key in ["a", "b", "c"] {
        cache.fetch(key).prime(&1).await.unwrap();
    }
    time.advance(MINUTE);
    let sources = [Source::default(), Source::default(), Source::default()];
    let mut outcomes = Vec::new();
    for (key, source) in ["a", "b", "c"].into_iter().zip(&sources) {
        outcomes.push(cache.fetch(key).outcome(source.slow(2)).await.unwrap().outcome);
    }
    run_tasks().await;
    assert!(matches!(why(&outcomes[1]), Staleness::Refreshing));
    assert!(matches!(why(&outcomes[2]), Staleness::TooManyRefreshes));
    let counts = sources.each_ref().map(Source::count);
    assert_eq!(counts, [1, 1, 0]);
    let stats = cache.stats();
    assert_eq!((stats.refreshes, stats.refreshes_skipped, stats.active_refreshes), (2, 1, 2));
    sources[0].go_on.notify_one();
    run_tasks().await;
    let again = cache.fetch("c").outcome(sources[2].slow(2)).await.unwrap();
    assert!(matches!(why(&again.outcome), Staleness::Refreshing), "a permit came back");
}

#[tokio::test]
async fn panic_of_a_refresh_frees_its_permit_and_its_key() {
    let (_, cache, time) = world_with(|it| it.max_refreshes = 1);
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let panics = |_| async { std::panic::resume_unwind(Box::new("as the test wants")) };
    let stale = cache.fetch("k").load::<u32, io::Error, _, _>(panics).await;
    assert_eq!(stale.unwrap(), 1);
    run_tasks().await;
    assert_eq!((cache.stats().active_refreshes, cache.stats().active_loads), (0, 0));
    time.advance(10 * SECOND);
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 1);
    run_tasks().await;
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2));
}

#[tokio::test]
async fn hanging_refresh_ends_with_its_deadline_and_frees_its_permit() {
    let (_, cache, time) = world_with(|it| it.max_refreshes = 1);
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let hang = |_| pending::<Result<u32, io::Error>>();
    assert_eq!(cache.fetch("k").load(hang).await.unwrap(), 1);
    run_tasks().await;
    assert_eq!(cache.stats().active_refreshes, 1);
    time.advance(30 * SECOND);
    run_tasks().await;
    assert_eq!((cache.stats().active_refreshes, cache.stats().active_loads), (0, 0));
}

#[tokio::test]
async fn refresh_begins_again_after_the_backoff() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    assert_eq!(cache.fetch("k").load(fails::<u32>()).await.unwrap(), 1);
    run_tasks().await;
    time.advance(9 * SECOND);
    let stale = cache.fetch("k").outcome(Source::default().slow(2)).await.unwrap();
    assert!(matches!(why(&stale.outcome), Staleness::LoadFailed(_)), "{stale:?}");
    time.advance(SECOND);
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 1);
    run_tasks().await;
    assert_eq!(cache.fetch("k").load(value(3)).await.unwrap(), 2);
}

#[tokio::test]
async fn value_is_refreshed_ahead_after_a_fraction_of_its_lifetime() {
    let (_, cache, time) = world();
    let fetch = || cache.fetch("k").refresh_ahead(RefreshAhead::Fraction(0.5));
    assert_eq!(fetch().load(value(1)).await.unwrap(), 1);
    time.advance(29 * SECOND);
    assert_eq!(fetch().load(value(2)).await.unwrap(), 1);
    run_tasks().await;
    assert_eq!(cache.stats().refreshes, 0);
    time.advance(SECOND);
    assert_eq!(fetch().load(value(2)).await.unwrap(), 1, "a hit");
    run_tasks().await;
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2));
    assert_eq!(cache.stats().refreshes, 1);
}

#[tokio::test]
async fn refresh_ahead_needs_no_grace() {
    let time = FakeClock::new();
    let mut settings = FetchSettings::default();
    settings.ttl = Some(MINUTE.into());
    settings.jitter = Some(0.0);
    settings.refresh_ahead = RefreshAhead::Fraction(0.5);
    let store = Inline::new(Model::new(time.clock()));
    let cache = Cache::builder(Arc::new(store)).clock(time.clock()).fetch(settings);
    let cache = cache.build("test").unwrap();
    assert_eq!(cache.fetch("k").load(value(1)).await.unwrap(), 1);
    time.advance(MINUTE / 2);
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 1);
    run_tasks().await;
    assert_eq!(cache.fetch("k").load(value(3)).await.unwrap(), 2);
}

/// The value is refreshed before its end with near certainty, and not long before.
#[tokio::test]
async fn xfetch_refreshes_within_some_load_times_of_the_end() {
    let (_, cache, time) = world();
    let mut early = 0;
    for n in 0..100 {
        let key = format!("k{n}");
        let fetch = || cache.fetch(&key).refresh_ahead(RefreshAhead::XFetch);
        let clock = time.clone();
        let load = move |_| async move {
            clock.advance(SECOND);
            Ok::<_, io::Error>(1_u32)
        };
        fetch().load(load).await.unwrap();
        let before = cache.stats().refreshes;
        time.advance(30 * SECOND);
        fetch().load(value(2)).await.unwrap();
        assert_eq!(cache.stats().refreshes, before, "30 load times before the end");
        time.advance(29 * SECOND);
        fetch().load(value(2)).await.unwrap();
        run_tasks().await;
        early += cache.stats().refreshes - before;
    }
    // With probability 1/e one load time before the end.
    assert!((15..60).contains(&early), "{early} of 100 were refreshed");
}

/// Returns two caches that share a store and nothing else, as two processes do, and a value.
async fn two_processes() -> (Cache, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Arc::new(Inline::new(Model::new(time.clock())));
    let mut settings = FetchSettings::with_grace(HOUR);
    settings.ttl = Some(MINUTE.into());
    settings.jitter = Some(0.0);
    settings.refresh_lock = true;
    let process = || {
        let builder = Cache::builder(Arc::clone(&store) as Arc<dyn cache_core::store::Backend>)
            .clock(time.clock());
        builder.fetch(settings).build("test").unwrap()
    };
    let (one, two) = (process(), process());
    one.fetch("k").prime(&1).await.unwrap();
    (one, two, time)
}

/// A trap: a lock without a lifetime.
#[test]
fn refresh_lock_of_a_process_that_died_expires() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dies = runtime();
    let (two, time) = dies.block_on(async {
        let (one, two, time) = two_processes().await;
        time.advance(MINUTE);
        let source = Source::default();
        one.fetch("k").outcome(source.slow(2)).await.unwrap();
        source.began.notified().await;
        (two, time)
    });
    // Its tasks never run again, and nothing of them is dropped.
    std::mem::forget(dies);
    runtime().block_on(async {
        assert_eq!(two.fetch("k").load(value(3)).await.unwrap(), 1);
        run_tasks().await;
        assert_eq!(two.stats().loads, 0, "the other process seems to refresh");
        time.advance(31 * SECOND);
        assert_eq!(two.fetch("k").load(value(3)).await.unwrap(), 1);
        run_tasks().await;
        assert_eq!(two.fetch("k").load(value(4)).await.unwrap(), 3);
    });
}

#[tokio::test]
async fn refresh_lock_lets_one_process_refresh() {
    let (one, two, time) = two_processes().await;
    time.advance(MINUTE);
    let source = Source::default();
    one.fetch("k").outcome(source.slow(2)).await.unwrap();
    source.began.notified().await;
    let other = Source::default();
    for _ in 0..3 {
        let stale = two.fetch("k").outcome(other.slow(3)).await.unwrap();
        assert_eq!(stale.value, Some(1));
        assert!(matches!(why(&stale.outcome), Staleness::Refreshing));
        run_tasks().await;
    }
    assert_eq!(other.count(), 0, "the other process has the lock");
    source.go_on.notify_one();
    run_tasks().await;
    assert_eq!(two.fetch("k").load(value(4)).await.unwrap(), 2);
    // The lock was released with the refresh.
    time.advance(MINUTE);
    two.fetch("k").load(value(5)).await.unwrap();
    run_tasks().await;
    assert_eq!(two.fetch("k").load(value(6)).await.unwrap(), 5);
}

#[tokio::test]
async fn refresh_whose_key_was_deleted_ends() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let source = Source::default();
    cache.fetch("k").outcome(source.slow(2)).await.unwrap();
    source.began.notified().await;
    assert!(cache.delete("k").await.unwrap());
    run_tasks().await;
    assert_eq!(cache.stats().active_refreshes, 0, "nobody wants its value");
    assert_eq!(cache.fetch("k").load(value(3)).await.unwrap(), 3);
}

#[tokio::test]
async fn not_modified_keeps_the_value_for_another_lifetime() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(MINUTE);
    let load = |context: cache_core::LoadContext| async move {
        assert_eq!(context.stale::<u32>(), Some(1));
        assert_eq!(context.key(), "k");
        Ok::<Loaded<u32>, io::Error>(context.not_modified())
    };
    let fetch = cache.fetch("k").soft_timeout(Duration::from_secs(5));
    assert_eq!(fetch.outcome(load).await.unwrap().value, Some(1));
    let ttl = cache.ttl("k").await.unwrap();
    assert_eq!(ttl, Some(cache_core::Ttl::Remaining(MINUTE)));
}

/// A caller that waits joins a refresh that runs: that needs no permit.
#[tokio::test]
async fn caller_with_a_soft_timeout_joins_a_refresh_though_no_permit_is_left() {
    let (_, cache, time) = world_with(|it| it.max_refreshes = 1);
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(2 * MINUTE);
    let source = Source::default();
    let fetch = |source: &Source| {
        let load = source.slow(2);
        let fetch = cache.fetch("k").soft_timeout(10 * SECOND);
        async move { fetch.outcome(load).await.unwrap() }
    };
    let (one, two, ()) = tokio::join!(fetch(&source), fetch(&source), async {
        source.began.notified().await;
        run_tasks().await;
        source.go_on.notify_one();
    });
    assert_eq!((one.value, two.value), (Some(2), Some(2)));
    assert_eq!((source.count(), cache.stats().refreshes_skipped), (1, 0));
}

/// A new value within the soft timeout is a miss, like each load that a caller waits for.
#[tokio::test]
async fn value_that_is_loaded_within_the_soft_timeout_is_counted() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(2 * MINUTE);
    let found = cache.fetch("k").soft_timeout(10 * SECOND).load(value(2)).await.unwrap();
    assert_eq!(found, 2);
    let counts = cache.stats().total();
    assert_eq!((counts.misses, counts.stale), (1, 0));
}

/// Writes of other keys change the shared count of writes, and do not end a refresh.
#[tokio::test]
async fn refresh_ahead_loads_although_other_keys_are_written() {
    let (_, cache, time) = world_with(|it| it.refresh_ahead = RefreshAhead::Fraction(0.5));
    cache.fetch("k").prime(&1).await.unwrap();
    time.advance(45 * SECOND);
    assert_eq!(cache.fetch("k").load(value(2)).await.unwrap(), 1);
    for n in 0..1000 {
        cache.set(&format!("other:{n}"), &n, Timeout::Default).await.unwrap();
    }
    assert_eq!(cache.stats().loads, 0, "the task has not run yet");
    run_tasks().await;
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(2));
}
