use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use cache_core::{
    Cache, ErrorKind, FetchOutcome, FetchSettings, LoadContext, Loaded, Staleness, Timeout, Ttl,
    form::Form, layer::Operation, secs,
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    callers_of_a_fetch_share_one_load,
    stale_value_is_served_while_one_refresh_runs(timed),
    stale_value_is_served_when_the_loader_fails(timed),
    value_past_its_timeout_is_missing_to_every_other_call(timed),
    touch_of_a_value_with_grace_sets_the_lifetime_before_the_grace,
    primed_value_is_an_ordinary_value,
    absence_is_remembered_and_is_missing_to_every_other_call,
    write_during_a_fetch_is_not_overwritten,
    failed_and_panicked_fetches_reach_every_caller_and_leave_nothing,
    fetch_without_callers_ends_and_leaves_nothing,
    close_ends_refreshes(timed),
];

/// A cache whose values may have a grace, and that remembers absent values.
pub(super) fn cache(ctx: &Ctx) -> Cache {
    let mut settings = FetchSettings::with_grace(LONG_TIME);
    settings.negative_ttl = Some(LONG_TIME.into());
    ctx.builder().fetch(settings).build("conformance").expect("the suite's settings are good")
}

/// A loader that counts its runs and returns their number.
fn counted(
    loads: &Arc<AtomicUsize>,
) -> impl FnOnce(LoadContext) -> std::future::Ready<Result<usize, Infallible>> + use<> {
    let loads = Arc::clone(loads);
    move |_| std::future::ready(Ok(loads.fetch_add(1, SeqCst) + 1))
}

/// Waits until no load runs, in the background or for a caller.
pub(super) async fn until_idle<V: Form>(cache: &Cache<V>) {
    while cache.stats().active_refreshes + cache.stats().active_loads > 0 {
        tokio::task::yield_now().await;
    }
}

/// 16 concurrent callers of a fetch share one load, and the next caller has a hit.
async fn callers_of_a_fetch_share_one_load(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let (loads, start) = (Arc::new(AtomicUsize::new(0)), ctx.now());
    let answers = ctx
        .race(16, |_, _| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            async move {
                let load = move |_| async move {
                    // Longer than the reads of the other callers.
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, Infallible>(loads.fetch_add(1, SeqCst) + 1)
                };
                cache.fetch("k").ttl(LONG_TIME).jitter(0.0).load(load).await
            }
        })
        .await;
    let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
    assert_eq!(answers, [1; 16], "the values that the callers got");
    let hit = cache.fetch("k").outcome(|_| async { Ok::<_, Infallible>(Loaded::Value(7)) }).await?;
    assert!(matches!(hit.outcome, FetchOutcome::Hit { .. }), "{:?}", hit.outcome);
    assert_eq!((hit.value, loads.load(SeqCst)), (Some(1), 1), "value and loads");
    assert_eq!(cache.get::<usize>("k").await?, Some(1));
    ctx.assert_ttl(cache.ttl("k").await?, LONG_TIME, start, "ttl of a fetched value");
    until_idle(&cache).await;
    Ok(())
}

/// A value past its timeout is served at once, and one load in the background replaces it.
async fn stale_value_is_served_while_one_refresh_runs(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let loads = Arc::new(AtomicUsize::new(0));
    let short = ctx.short_time();
    assert_eq!(cache.fetch("k").ttl(short).load(counted(&loads)).await?, 1);
    // Jitter prolongs a lifetime by a tenth.
    ctx.outlive(short + short / 10).await;
    let go_on = Arc::new(Notify::new());
    let mut served = Vec::new();
    for _ in 0..8 {
        let (go_on, loads) = (Arc::clone(&go_on), Arc::clone(&loads));
        let load = move |context: LoadContext| async move {
            assert_eq!(context.stale::<usize>(), Some(1), "the stale value in the loader");
            loads.fetch_add(1, SeqCst);
            go_on.notified().await;
            Ok::<_, Infallible>(Loaded::Value(2))
        };
        served.push(cache.fetch("k").ttl(LONG_TIME).outcome(load).await?);
    }
    for stale in served {
        assert_eq!(stale.value, Some(1), "the value while a refresh runs");
        let is_refreshing =
            matches!(stale.outcome, FetchOutcome::Stale { why: Staleness::Refreshing, .. });
        assert!(is_refreshing, "{:?}", stale.outcome);
    }
    assert_eq!(cache.stats()[Operation::Fetch].stale, 8, "stale hits that were counted");
    // Lets the load end whenever it begins.
    go_on.notify_one();
    until_idle(&cache).await;
    assert_eq!(loads.load(SeqCst), 2, "loads in all");
    assert_eq!(cache.stats().refreshes, 1);
    assert_eq!(cache.get::<usize>("k").await?, Some(2), "the value after the refresh");
    Ok(())
}

/// A failed load does not hide a value in its grace, from `fetch` and from `get_or_set`, and no
/// other refresh begins within the backoff.
async fn stale_value_is_served_when_the_loader_fails(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let short = ctx.short_time();
    cache.fetch("k").ttl(short).jitter(0.0).prime(&1).await?;
    ctx.outlive(short).await;
    let fail = |_| async { Err::<Loaded<i32>, _>(io::Error::other("db down")) };
    let backoff = Duration::from_secs(1 << 30);
    let fetch = cache.fetch("k").backoff(backoff).soft_timeout(Duration::from_secs(20));
    let stale = fetch.outcome(fail).await?;
    assert_eq!(stale.value, Some(1));
    let FetchOutcome::Stale { why: Staleness::LoadFailed(error), .. } = stale.outcome else {
        panic!("a fetch whose loader failed returned {:?}", stale.outcome)
    };
    assert_eq!(error.kind(), ErrorKind::Loader, "{error}");
    until_idle(&cache).await;
    let loads = Arc::new(AtomicUsize::new(0));
    assert_eq!(cache.fetch("k").backoff(backoff).load(counted(&loads)).await?, 1);
    assert_eq!(loads.load(SeqCst), 0, "loads within the backoff");
    let load = || async { Err::<i32, _>(io::Error::other("db down")) };
    assert_eq!(cache.get_or_try_set("k", Timeout::Default, load).await?, 1);
    until_idle(&cache).await;
    Ok(())
}

/// A value past its timeout exists for `fetch` alone, although the store still has it.
async fn value_past_its_timeout_is_missing_to_every_other_call(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let short = ctx.short_time();
    let keys = ["add", "incr", "move", "pop", "replace", "set", "touch", "update"];
    let began = Instant::now();
    for key in keys {
        cache.fetch(key).ttl(short).jitter(0.0).prime(&1).await?;
    }
    let found = cache.get::<i32>("add").await?;
    // On a busy machine it may be past its timeout already.
    if began.elapsed() < short {
        assert_eq!(found, Some(1), "before its timeout");
    }
    ctx.outlive(short).await;
    assert_eq!(cache.get::<i32>("add").await?, None, "get");
    assert_eq!(cache.bytes().get("add").await?, None, "bytes().get");
    assert_eq!(cache.get_many::<i32, _>(keys).await?, [].into(), "get_many");
    returned!(cache.has_key("add").await?, false, "has_key");
    assert_eq!(cache.ttl("add").await?, None, "ttl");
    returned!(cache.touch("touch", secs(600)).await?, false, "touch");
    returned!(cache.add("add", &2, secs(600)).await?, true, "add");
    returned!(cache.add("add", &3, secs(600)).await?, false, "add of a value that was added");
    assert_eq!(cache.get::<i32>("add").await?, Some(2));
    returned!(cache.replace("replace", &2, secs(600)).await?, false, "replace");
    assert_eq!(cache.pop::<i32>("pop").await?, None, "pop");
    assert_eq!(cache.update("update", secs(600), |n: i32| n + 1).await?, None, "update");
    let upserted = cache.upsert("update", secs(600), |n: Option<i32>| n.or(Some(7))).await?;
    assert_eq!(upserted, Some(7), "upsert");
    let error = cache.incr_version("move", 1).await.expect_err("a missing key");
    assert_eq!(error.kind(), ErrorKind::KeyNotFound, "incr_version: {error}");
    let error = cache.incr("incr", 1).await.expect_err("a missing key");
    assert_eq!(error.kind(), ErrorKind::KeyNotFound, "incr: {error}");
    assert_eq!(cache.incr_or("incr", 1, 0, secs(600)).await?, 1, "incr_or");
    assert_eq!(cache.get_or_set("set", secs(600), || async { 5 }).await?, 5, "get_or_set");
    Ok(())
}

/// `touch` sets the time until a value is stale; the grace follows.
async fn touch_of_a_value_with_grace_sets_the_lifetime_before_the_grace(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    cache.fetch("k").ttl(secs(50)).jitter(0.0).prime(&1).await?;
    let start = ctx.now();
    for asked in [Duration::from_secs(100), Duration::from_secs(100), Duration::from_secs(30)] {
        returned!(cache.touch("k", asked).await?, true, "touch");
        ctx.assert_ttl(cache.ttl("k").await?, asked, start, "ttl after touch");
        let stored = ctx.store.ttl(&ctx.key("k")).await?;
        ctx.assert_ttl(stored, asked + LONG_TIME, start, "stored lifetime after touch");
    }
    assert_eq!(cache.get::<i32>("k").await?, Some(1));
    returned!(cache.touch("k", Timeout::Never).await?, true, "touch");
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    assert_eq!(cache.pop::<i32>("k").await?, Some(1));
    Ok(())
}

/// A value with a grace is read, replaced, moved and removed like any other before its timeout.
async fn primed_value_is_an_ordinary_value(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let text = "text".to_owned();
    for key in ["add", "move", "pop", "replace", "update"] {
        cache.fetch(key).ttl(LONG_TIME).prime(&text).await?;
    }
    assert_eq!(cache.get("add").await?, Some(text.clone()));
    assert_eq!(cache.get_many(["add"]).await?, [("add", text.clone())].into());
    returned!(cache.has_key("add").await?, true, "has_key");
    returned!(cache.add("add", &1, LONG_TIME).await?, false, "add");
    assert_eq!(cache.pop("pop").await?, Some(text.clone()));
    returned!(cache.has_key("pop").await?, false, "has_key after pop");
    returned!(cache.replace("replace", "new", LONG_TIME).await?, true, "replace");
    assert_eq!(cache.get("replace").await?, Some("new".to_owned()));
    let updated = cache.update("update", LONG_TIME, |it: String| it + "!").await?;
    assert_eq!(updated.as_deref(), Some("text!"));
    assert_eq!(cache.incr_version("move", 1).await?, 2);
    assert_eq!(cache.at_version(2).get("move").await?, Some(text));
    returned!(cache.delete("add").await?, true, "delete");
    returned!(cache.delete("add").await?, false, "delete of a deleted key");
    Ok(())
}

/// That a loader found no value is remembered for fetches alone.
async fn absence_is_remembered_and_is_missing_to_every_other_call(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let loads = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let loads = Arc::clone(&loads);
        let load = move |_| async move {
            loads.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(None::<i32>)
        };
        assert_eq!(cache.fetch("k").load_optional(load).await?, None);
    }
    assert_eq!(loads.load(SeqCst), 1, "loads of a value that does not exist");
    assert_eq!(cache.stats()[Operation::Fetch].absent, 1);
    assert_eq!(cache.get::<Option<i32>>("k").await?, None, "get");
    assert_eq!(cache.get_many::<Option<i32>, _>(["k"]).await?, [].into(), "get_many");
    returned!(cache.has_key("k").await?, false, "has_key");
    returned!(cache.touch("k", secs(600)).await?, false, "touch");
    assert_eq!(cache.pop::<Option<i32>>("k").await?, None, "pop");
    // A loader that always has a value does not take the answer that the source has no value.
    assert_eq!(cache.fetch("k").load(counted(&loads)).await?, 2);
    assert_eq!(
        cache.fetch("k").load_optional(|_| async { Ok::<_, Infallible>(None) }).await?,
        Some(2)
    );
    Ok(())
}

/// A load in a task does not store its value over a write or delete that came after it began.
async fn write_during_a_fetch_is_not_overwritten(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    for deletes in [true, false] {
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let caller = tokio::spawn({
            let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
            async move {
                let load = |_| async move {
                    began.notify_one();
                    go_on.notified().await;
                    Ok::<_, Infallible>("loaded before".to_owned())
                };
                cache.fetch("k").load(load).await
            }
        });
        began.notified().await;
        if deletes {
            cache.delete("k").await?;
        } else {
            cache.set("k", "set", LONG_TIME).await?;
        }
        go_on.notify_one();
        let value = caller.await.expect("the task ended without a panic")?;
        assert_eq!(value, "loaded before", "the value for the caller of the load");
        let left = cache.get::<String>("k").await?;
        assert_eq!(left.as_deref(), if deletes { None } else { Some("set") });
    }
    until_idle(&cache).await;
    Ok(())
}

/// All callers of a load share its error or its panic: it is not run again for each of them.
async fn failed_and_panicked_fetches_reach_every_caller_and_leave_nothing(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    for panics in [false, true] {
        let (loads, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (cache, loads, go_on) = (cache.clone(), Arc::clone(&loads), Arc::clone(&go_on));
                tokio::spawn(async move {
                    let load = move |_| async move {
                        loads.fetch_add(1, SeqCst);
                        go_on.acquire().await.expect("it is not closed").forget();
                        if panics {
                            std::panic::resume_unwind(Box::new("the loader panics"))
                        }
                        Err::<i32, _>(io::Error::other("db down"))
                    };
                    cache.fetch("k").load(load).await
                })
            })
            .collect();
        // Every caller has read, and soon waits.
        while cache.stats()[Operation::Fetch].misses < if panics { 16 } else { 8 } {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        // For all: a caller that comes after the end of the load runs its own.
        go_on.add_permits(8);
        for caller in callers {
            let error = caller.await.expect("the task ended without a panic");
            let error = error.expect_err("the loader failed");
            assert_eq!(error.kind(), ErrorKind::Loader, "{error}");
        }
        assert!(loads.load(SeqCst) < 8, "{} loads for 8 callers", loads.load(SeqCst));
        returned!(cache.has_key("k").await?, false, "has_key after a failed load");
    }
    until_idle(&cache).await;
    Ok(())
}

/// When the last caller that waits is dropped, its load ends.
async fn fetch_without_callers_ends_and_leaves_nothing(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let began = Arc::new(Notify::new());
    let caller = tokio::spawn({
        let (cache, began) = (cache.clone(), Arc::clone(&began));
        async move {
            let load = |_| async move {
                began.notify_one();
                std::future::pending::<Result<i32, Infallible>>().await
            };
            cache.fetch("k").load(load).await
        }
    });
    began.notified().await;
    assert_eq!(cache.stats().active_loads, 1);
    caller.abort();
    until_idle(&cache).await;
    let loads = Arc::new(AtomicUsize::new(0));
    assert_eq!(cache.fetch("k").load(counted(&loads)).await?, 1, "the next load");
    Ok(())
}

/// `close` ends loads in the background, and the cache works afterwards.
async fn close_ends_refreshes(ctx: &Ctx) -> TestResult {
    let cache = cache(ctx);
    let short = ctx.short_time();
    cache.fetch("k").ttl(short).jitter(0.0).prime(&1).await?;
    ctx.outlive(short).await;
    let hang = |_| std::future::pending::<Result<i32, Infallible>>();
    assert_eq!(cache.fetch("k").load(hang).await?, 1);
    assert_eq!(cache.stats().active_refreshes, 1);
    cache.close().await?;
    assert_eq!(cache.stats().active_refreshes, 0, "refreshes after close");
    until_idle(&cache).await;
    let loads = Arc::new(AtomicUsize::new(0));
    assert_eq!(cache.fetch("k").load(counted(&loads)).await?, 1, "the stale value");
    until_idle(&cache).await;
    Ok(())
}
