//! Fenced loads: a value that a process deleted is not stored by the late load of another process.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use cache_core::{Cache, FetchSettings, Timeout, secs};
use tokio::sync::Notify;

use super::{
    fenced_load::{By, CALLS, Paused, call, fenced, processes},
    fetch::until_idle,
};
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::{Stop, TestResult},
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    late_load_does_not_store_over_a_write_or_delete_of_another_process,
    late_reload_does_not_store_over_a_write_or_delete_of_another_process,
    late_refresh_does_not_store_over_a_delete_of_another_process(timed),
    process_that_waits_gets_the_value_of_the_other,
    process_that_does_not_wait_stores_nothing,
    holder_that_hangs_delays_others_by_one_load_deadline,
    load_that_stores_nothing_leaves_no_lease,
    processes_load_a_key_once,
    processes_that_load_and_delete_return_no_deleted_value,
];

/// A change of `k` by another process during a load.
#[derive(Clone, Copy, Debug)]
enum Change {
    Delete,
    DeleteMany,
    SetWithoutLifetime,
    Clear,
    Set,
    SetMany,
    Add,
    Upsert,
    DeleteAndLoad,
    Force,
}

use Change::{
    Add, Clear, Delete, DeleteAndLoad, DeleteMany, Force, Set, SetMany, SetWithoutLifetime, Upsert,
};

impl Change {
    /// Makes the change. Returns the value that remains.
    async fn make(self, cache: &Cache) -> cache_core::Result<Option<&'static str>> {
        let load = |_| async { Ok::<_, Infallible>("new".to_owned()) };
        match self {
            Delete => drop(cache.delete("k").await?),
            DeleteMany => drop(cache.delete_many(["k"]).await?),
            SetWithoutLifetime => cache.set("k", "", secs(0)).await?,
            Clear => cache.clear().await?,
            Set => cache.set("k", "new", LONG_TIME).await?,
            SetMany => drop(cache.set_many([("k", "new")], LONG_TIME).await?),
            Add => drop(cache.add("k", "new", LONG_TIME).await?),
            Upsert => {
                drop(cache.upsert("k", LONG_TIME, |_: Option<String>| Some("new".into())).await?);
            }
            DeleteAndLoad => {
                cache.delete("k").await?;
                cache.fetch("k").ttl(LONG_TIME).load(load).await?;
            }
            Force => drop(cache.fetch("k").ttl(LONG_TIME).force().load(load).await?),
        }
        let leaves = !matches!(self, Delete | DeleteMany | SetWithoutLifetime | Clear);
        Ok(leaves.then_some("new"))
    }
}

/// While one process loads a missing key, another one writes or deletes it, or loads it again. The
/// first load then stores nothing, and its caller gets its value.
async fn late_load_does_not_store_over_a_write_or_delete_of_another_process(
    ctx: &Ctx,
) -> TestResult {
    let [one, two] = processes(ctx);
    for by in CALLS {
        let changes = [
            Delete,
            DeleteMany,
            SetWithoutLifetime,
            Clear,
            Set,
            SetMany,
            Add,
            Upsert,
            DeleteAndLoad,
            Force,
        ];
        for change in changes {
            let paused = Paused::begin(by, &one).await;
            let left = change.make(&two).await?;
            assert_eq!(paused.end().await?, "late", "{by:?}: for the caller of the load");
            for cache in [&one, &two] {
                let found = cache.get::<String>("k").await?;
                assert_eq!(found.as_deref(), left, "{by:?}, {change:?}: get after the late load");
            }
            let deleted = two.delete("k").await?;
            assert_eq!(deleted, left.is_some(), "{by:?}, {change:?}: delete");
            ctx.expect(&ctx.key("k"), None, "after a delete").await?;
        }
    }
    Ok(())
}

/// The same when the load replaces a value that exists.
async fn late_reload_does_not_store_over_a_write_or_delete_of_another_process(
    ctx: &Ctx,
) -> TestResult {
    let [one, two] = processes(ctx);
    for change in [Delete, DeleteMany, SetWithoutLifetime, Clear, Set, SetMany, Upsert, Force] {
        one.set("k", "old", LONG_TIME).await?;
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let caller = tokio::spawn({
            let (one, began, go_on) = (one.clone(), Arc::clone(&began), Arc::clone(&go_on));
            async move {
                let load = |_| async move {
                    began.notify_one();
                    go_on.notified().await;
                    Ok::<_, Infallible>("late".to_owned())
                };
                one.fetch("k").force().load(load).await
            }
        });
        began.notified().await;
        assert_eq!(two.get::<String>("k").await?.as_deref(), Some("old"), "during the load");
        let left = change.make(&two).await?;
        go_on.notify_one();
        let value = caller.await.expect("the task ended without a panic")?;
        assert_eq!(value, "late", "{change:?}: for the caller of the load");
        let found = two.get::<String>("k").await?;
        assert_eq!(found.as_deref(), left, "{change:?}: get after the late load");
    }
    Ok(())
}

/// The same when the load refreshes a stale value in the background.
async fn late_refresh_does_not_store_over_a_delete_of_another_process(ctx: &Ctx) -> TestResult {
    let [one, two] = ctx.processes_with(|it| {
        let mut settings = FetchSettings::with_grace(LONG_TIME);
        settings.fenced = Some(true);
        it.fetch(settings)
    });
    let short = ctx.short_time();
    one.fetch("k").ttl(short).jitter(0.0).prime("old").await?;
    ctx.outlive(short).await;
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let load = {
        let (began, go_on) = (Arc::clone(&began), Arc::clone(&go_on));
        |_| async move {
            began.notify_one();
            go_on.notified().await;
            Ok::<_, Infallible>("late".to_owned())
        }
    };
    assert_eq!(one.fetch("k").load(load).await?, "old", "the stale value");
    began.notified().await;
    returned!(two.delete("k").await?, true, "delete of a stale value");
    go_on.notify_one();
    until_idle(&one).await;
    ctx.expect(&ctx.key("k"), None, "after a delete during a refresh").await?;
    Ok(())
}

/// A process that finds the lease of another process waits, and gets the value that the other
/// stores.
async fn process_that_waits_gets_the_value_of_the_other(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    for holder in CALLS {
        for by in CALLS {
            let paused = Paused::begin(holder, &one).await;
            let misses = two.stats().total().misses;
            let waiter = tokio::spawn({
                let two = two.clone();
                async move { call(by, &two, || async { "other".to_owned() }).await }
            });
            while two.stats().total().misses == misses && !waiter.is_finished() {
                tokio::task::yield_now().await;
            }
            assert_eq!(paused.end().await?, "late");
            let value = waiter.await.expect("the task ended without a panic")?;
            assert_eq!(value, "late", "{by:?} that waited for {holder:?}");
            returned!(one.delete("k").await?, true, "delete");
        }
    }
    assert_eq!(two.stats().loads, 0, "loads of the process that waited");
    Ok(())
}

/// With `lease_wait` off, a process that finds the lease of another process loads at once.
async fn process_that_does_not_wait_stores_nothing(ctx: &Ctx) -> TestResult {
    let [one, two] = ctx.processes_with(|it| {
        let mut settings = fenced();
        settings.lease_wait = Some(false);
        it.fetch(settings)
    });
    for by in CALLS {
        let paused = Paused::begin(By::GetOrSet, &one).await;
        let value = call(by, &two, || async { "alone".to_owned() }).await?;
        assert_eq!(value, "alone", "{by:?}");
        assert_eq!(two.get::<String>("k").await?, None, "{by:?}: get during the other load");
        assert_eq!(paused.end().await?, "late");
        assert_eq!(two.get::<String>("k").await?.as_deref(), Some("late"), "{by:?}: get after it");
        returned!(one.delete("k").await?, true, "delete");
    }
    Ok(())
}

/// A process that holds the lease and does not go on delays others by one load deadline. When it
/// goes on, its value is not stored.
async fn holder_that_hangs_delays_others_by_one_load_deadline(ctx: &Ctx) -> TestResult {
    for by in CALLS {
        let mut deadline = Duration::from_millis(300);
        // A lease ends with its deadline as well. If a thread stands still for as long, the value
        // is not stored. So a slow machine gets longer deadlines.
        while !is_delayed_by_one(ctx, by, deadline).await? {
            assert!(
                deadline < Duration::from_secs(10),
                "{by:?} took two deadlines of {deadline:?}"
            );
            deadline *= 2;
        }
    }
    Ok(())
}

/// Loads a key while the process that holds its lease hangs. Returns `false`, and checks nothing
/// else, if that took two deadlines.
async fn is_delayed_by_one(ctx: &Ctx, by: By, deadline: Duration) -> Result<bool, Stop> {
    let [one, two] = ctx.processes_with(|it| it.fetch(fenced()).load_deadline(deadline));
    let began = Instant::now();
    // The loader of `fetch` would end with its deadline.
    let paused = Paused::begin(By::GetOrSet, &one).await;
    let value = call(by, &two, || async { "other".to_owned() }).await;
    // Of two deadlines, the first lease lasted for one, so the second lease has not ended.
    let is_in_time = began.elapsed() < deadline * 2;
    assert_eq!(paused.end().await?, "late", "for the caller of the load");
    if is_in_time {
        assert_eq!(value?, "other", "{by:?}");
        let found = one.get::<String>("k").await?;
        assert_eq!(found.as_deref(), Some("other"), "{by:?}: get after the late load");
        returned!(two.delete("k").await?, true, "delete");
    } else {
        until_idle(&two).await;
        two.delete("k").await?;
    }
    Ok(is_in_time)
}

/// A load that fails, is dropped, or does not want its value stored removes its lease, so that no
/// other process waits for it.
async fn load_that_stores_nothing_leaves_no_lease(ctx: &Ctx) -> TestResult {
    let [cache] = processes(ctx);
    let fail = || async { Err::<i32, _>(io::Error::other("db down")) };
    assert!(cache.get_or_try_set("k", Timeout::Default, fail).await.is_err());
    ctx.expect(&ctx.key("k"), None, "after a failed get_or_try_set").await?;
    assert!(cache.fetch("k").load(move |_| fail()).await.is_err());
    until_idle(&cache).await;
    ctx.expect(&ctx.key("k"), None, "after a failed fetch").await?;
    let fail = |_| async { Err::<[(&str, i32); 1], _>(io::Error::other("db down")) };
    assert!(cache.get_or_try_set_many(["k"], Timeout::Default, fail).await.is_err());
    ctx.expect(&ctx.key("k"), None, "after a failed get_or_try_set_many").await?;
    let none = cache.get_or_set_many(["k"], Timeout::Default, |_| async { [] as [(&str, i32); 0] });
    assert!(none.await?.is_empty());
    ctx.expect(&ctx.key("k"), None, "after a load without a value").await?;
    assert_eq!(cache.get_or_set("k", secs(0), || async { 1 }).await?, 1);
    ctx.expect(&ctx.key("k"), None, "after a load with a lifetime of zero").await?;
    let skip = |context: cache_core::LoadContext| async move {
        context.skip();
        Ok::<_, Infallible>(1)
    };
    assert_eq!(cache.fetch("k").load(skip).await?, 1);
    until_idle(&cache).await;
    ctx.expect(&ctx.key("k"), None, "after a load that was skipped").await?;
    for by in CALLS {
        let Paused { caller, .. } = Paused::begin(by, &cache).await;
        assert!(ctx.get(&ctx.key("k")).await?.is_some(), "{by:?}: the lease");
        caller.abort();
        // The library removes it in the background.
        while ctx.get(&ctx.key("k")).await?.is_some() {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Callers of four processes that miss a key at the same time load it once.
async fn processes_load_a_key_once(ctx: &Ctx) -> TestResult {
    let processes: [Cache; 4] = processes(ctx);
    for by in CALLS {
        let loads = Arc::new(AtomicU64::new(0));
        let answers = ctx
            .race(16, |n, _| {
                let (cache, loads) = (processes[n % processes.len()].clone(), Arc::clone(&loads));
                async move {
                    let load = move || async move {
                        tokio::task::yield_now().await;
                        (loads.fetch_add(1, SeqCst) + 1).to_string()
                    };
                    call(by, &cache, load).await
                }
            })
            .await;
        let answers = answers.into_iter().collect::<cache_core::Result<Vec<_>>>()?;
        assert!(answers.iter().all(|it| it == "1"), "{by:?}: {answers:?}");
        assert_eq!(loads.load(SeqCst), 1, "{by:?}: loads for 16 callers in four processes");
        processes[0].delete("k").await?;
    }
    Ok(())
}

/// Three processes change a source, delete the key and load it. After its delete returned, no
/// caller gets a value from before it.
async fn processes_that_load_and_delete_return_no_deleted_value(ctx: &Ctx) -> TestResult {
    let processes: [Cache; 3] = processes(ctx);
    let source = Arc::new(AtomicU64::new(0));
    let answers = ctx
        .race(6, |n, _| {
            let (cache, source) = (processes[n % processes.len()].clone(), Arc::clone(&source));
            async move {
                let load = || async {
                    let version = source.load(SeqCst);
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    version
                };
                for _ in 0..20 {
                    let version = source.fetch_add(1, SeqCst) + 1;
                    cache.delete("k").await?;
                    let found = cache.get_or_set("k", LONG_TIME, load).await?;
                    assert!(found >= version, "{found} after {version} was deleted for");
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<cache_core::Result<()>>()?;
    Ok(())
}
