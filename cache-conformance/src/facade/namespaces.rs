//! Namespaces: all operations work in them, and a clear ends all of their entries and no others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cache_core::{Cache, ErrorKind, Keyspace, Timeout, secs};
use tokio::sync::{Barrier, Notify};

use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    all_operations_work_in_a_namespace,
    keys_of_a_namespace_are_separate_from_all_others,
    cleared_namespace_has_no_entries_and_others_keep_theirs,
    clear_of_the_alias_removes_its_namespaces,
    clear_of_a_namespace_reaches_other_processes_within_the_staleness(timed),
    writes_in_a_namespace_know_the_clears_of_other_processes,
    load_that_the_clear_of_a_namespace_overtakes_is_not_served,
    processes_that_use_a_namespace_first_agree_on_it,
    no_call_after_the_clear_of_a_namespace_returns_an_older_value,
];

/// Caches of several processes that read the generation with each call.
fn processes<const N: usize>(ctx: &Ctx) -> [Cache; N] {
    ctx.processes_with(|it| it.tag_staleness(Duration::ZERO))
        .map(|it| it.namespace("users").expect("the suite's names are good"))
}

static USERS: Keyspace<&str, i32> = Keyspace::new("user").ttl(secs(600));

async fn all_operations_work_in_a_namespace(ctx: &Ctx) -> TestResult {
    let users = ctx.cache().namespace("users")?;
    users.set("k", &1, LONG_TIME).await?;
    returned!(users.add("k", &2, LONG_TIME).await?, false, "add of a present key");
    returned!(users.replace("k", &3, LONG_TIME).await?, true, "replace");
    assert_eq!(users.incr("k", 4).await?, 7);
    assert_eq!(users.incr_or("n", 1, 1, LONG_TIME).await?, 2);
    assert_eq!(users.update("k", LONG_TIME, |n: i32| n * 2).await?, Some(14));
    assert_eq!(users.upsert("u", LONG_TIME, |n: Option<i32>| n.or(Some(5))).await?, Some(5));
    returned!(users.touch("k", Timeout::Never).await?, true, "touch");
    assert_eq!(users.ttl("k").await?, Some(cache_core::Ttl::Forever));
    let found = users.get_many::<i32, _>(["k", "n", "u", "other"]).await?;
    assert_eq!(found, [("k", 14), ("n", 2), ("u", 5)].into());
    assert_eq!(users.incr_version("k", 1).await?, 2);
    assert_eq!(users.at_version(2).pop::<i32>("k").await?, Some(14));
    users.set_many([("a", 1), ("b", 2)], LONG_TIME).await?.into_result()?;
    assert_eq!(users.delete_many(["a", "b", "other"]).await?, 2);
    users.bytes().set("raw", b"\x00\xff", LONG_TIME).await?;
    assert_eq!(users.bytes().get("raw").await?.as_deref(), Some(&b"\x00\xff"[..]));
    assert_eq!(users.get_or_set("loaded", LONG_TIME, async || 6).await?, 6);
    let load = |missing: Vec<&'static str>| async move { missing.into_iter().map(|it| (it, 8)) };
    let found = users.get_or_set_many(["loaded", "new"], LONG_TIME, load).await?;
    assert_eq!(found, [("loaded", 6), ("new", 8)].into());
    USERS.set(&users, &"ada", &9).await?;
    assert_eq!(USERS.get(&users, &"ada").await?, Some(9));
    returned!(users.delete("new").await?, true, "delete");
    let error = users.get::<i32>("a b").await.expect_err("a space in a key");
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let error = ctx.cache().namespace("a~b").expect_err("the end of a name in a name");
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    Ok(())
}

/// Handles whose key `k` is each another key.
fn handles(ctx: &Ctx) -> cache_core::Result<Vec<Cache>> {
    let cache = ctx.cache();
    let users = cache.namespace("users")?;
    Ok(vec![
        cache.clone(),
        cache.at_version(2),
        users.clone(),
        users.at_version(2),
        users.namespace("eu")?,
        cache.namespace("eu")?,
        cache.namespace("users:eu")?,
        cache.namespace("1")?,
    ])
}

async fn keys_of_a_namespace_are_separate_from_all_others(ctx: &Ctx) -> TestResult {
    let handles = handles(ctx)?;
    for (number, handle) in (0_i32..).zip(&handles) {
        returned!(handle.add("k", &number, LONG_TIME).await?, true, "add in {handle:?}");
    }
    for (number, handle) in (0_i32..).zip(&handles) {
        assert_eq!(handle.get::<i32>("k").await?, Some(number), "{handle:?}");
    }
    let users = ctx.cache().namespace("users")?;
    let lock = users.lock("job", secs(60)).acquire().await?;
    let other = ctx.cache().try_lock("job", secs(60)).await?;
    assert!(other.is_some(), "a lock outside of the namespace");
    users.clear().await?;
    assert!(users.try_lock("job", secs(60)).await?.is_none(), "the lock ended with the clear");
    returned!(lock.release().await?, true, "release of a lock in a namespace");
    Ok(())
}

async fn cleared_namespace_has_no_entries_and_others_keep_theirs(ctx: &Ctx) -> TestResult {
    // `users` in two versions, and `eu` within it.
    let cleared = [2, 3, 4];
    for round in 0..3 {
        let handles = handles(ctx)?;
        for handle in &handles {
            handle.set("k", &1, Timeout::Never).await?;
        }
        handles[2].clear().await?;
        for (place, handle) in handles.iter().enumerate() {
            let stays = !cleared.contains(&place);
            assert_eq!(handle.has_key("k").await?, stays, "{handle:?}, round {round}");
        }
        let users = &handles[2];
        assert_eq!(users.get::<i32>("k").await?, None);
        assert_eq!(users.get_many::<i32, _>(["k"]).await?, HashMap::new());
        assert_eq!(users.ttl("k").await?, None);
        assert_eq!(users.pop::<i32>("k").await?, None);
        returned!(users.touch("k", LONG_TIME).await?, false, "touch after a clear");
        returned!(users.delete("k").await?, false, "delete after a clear");
        let error = users.incr("k", 1).await.expect_err("incr after a clear");
        assert_eq!(error.kind(), ErrorKind::KeyNotFound);
        returned!(users.add("k", &2, LONG_TIME).await?, true, "add after a clear");
        assert_eq!(users.get::<i32>("k").await?, Some(2));
    }
    Ok(())
}

async fn clear_of_the_alias_removes_its_namespaces(ctx: &Ctx) -> TestResult {
    for handle in handles(ctx)? {
        handle.set("k", &1, Timeout::Never).await?;
    }
    ctx.cache().clear().await?;
    for handle in handles(ctx)? {
        returned!(handle.has_key("k").await?, false, "has_key in {handle:?}");
    }
    let marker = format!("{}:ns:tag:users", ctx.prefix());
    let users = ctx.cache().namespace("users")?;
    users.set("k", &1, LONG_TIME).await?;
    assert!(ctx.get(&marker).await?.is_some(), "the key of a marker");
    ctx.cache().clear().await?;
    ctx.expect(&marker, None, "a marker after clear").await?;
    Ok(())
}

async fn clear_of_a_namespace_reaches_other_processes_within_the_staleness(
    ctx: &Ctx,
) -> TestResult {
    let staleness = Duration::from_millis(500);
    let cache = || ctx.builder().tag_staleness(staleness).build("conformance");
    let [one, two] = [cache()?.namespace("users")?, cache()?.namespace("users")?];
    one.set("k", &1, Timeout::Never).await?;
    assert_eq!(two.get::<i32>("k").await?, Some(1));
    one.clear().await?;
    returned!(one.has_key("k").await?, false, "has_key in the process of the clear");
    // The coarse clock has passed this time as well.
    ctx.pass(staleness + Duration::from_millis(1)).await;
    returned!(two.has_key("k").await?, false, "has_key in another process");
    two.set("k", &2, LONG_TIME).await?;
    assert_eq!(one.get::<i32>("k").await?, Some(2));
    Ok(())
}

/// A process reads with the generation that it remembers, and writes with the current one: `add`
/// has one winner, and a delete removes the entry that others read.
async fn writes_in_a_namespace_know_the_clears_of_other_processes(ctx: &Ctx) -> TestResult {
    let caches = ctx.processes_with::<2>(|it| it.tag_staleness(Duration::from_secs(600)));
    let [one, two] = caches.map(|it| it.namespace("users").expect("the suite's names are good"));
    returned!(two.has_key("k").await?, false, "has_key, which remembers the generation");
    one.clear().await?;
    one.set_many([("k", 1), ("n", 1)], LONG_TIME).await?.into_result()?;
    returned!(two.add("k", &2, LONG_TIME).await?, false, "add of a key of another process");
    assert_eq!(two.incr("n", 1).await?, 2);
    one.clear().await?;
    one.set("k", &1, LONG_TIME).await?;
    returned!(two.delete("k").await?, true, "delete");
    assert_eq!(one.get::<i32>("k").await?, None);
    one.clear().await?;
    two.set("k", &3, LONG_TIME).await?;
    assert_eq!(one.get::<i32>("k").await?, Some(3));
    Ok(())
}

async fn load_that_the_clear_of_a_namespace_overtakes_is_not_served(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    for clearing in [&one, &two] {
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let loading = tokio::spawn({
            let (one, began, go_on) = (one.clone(), Arc::clone(&began), Arc::clone(&go_on));
            async move {
                let load = || async {
                    began.notify_one();
                    go_on.notified().await;
                    "old".to_owned()
                };
                one.get_or_set("k", LONG_TIME, load).await
            }
        });
        began.notified().await;
        clearing.clear().await?;
        go_on.notify_one();
        let loaded = loading.await.expect("the task ended without a panic")?;
        assert_eq!(loaded, "old", "the value for the caller of the load");
        for users in [&one, &two] {
            assert_eq!(users.get::<String>("k").await?, None, "after the clear");
        }
    }
    Ok(())
}

/// Each process makes the generation if it is missing, and all take the same one.
async fn processes_that_use_a_namespace_first_agree_on_it(ctx: &Ctx) -> TestResult {
    const PROCESSES: usize = 4;
    const STALENESS: Duration = Duration::from_secs(60);
    for round in 0..10 {
        let caches = ctx.processes_with::<PROCESSES>(|it| it.tag_staleness(STALENESS));
        let barrier = Arc::new(Barrier::new(PROCESSES));
        let name = format!("n{round}");
        let mut tasks = Vec::new();
        for (number, cache) in (0_i32..).zip(caches) {
            let (barrier, users) = (Arc::clone(&barrier), cache.namespace(&name)?);
            tasks.push(tokio::spawn(async move {
                barrier.wait().await;
                users.set(&number.to_string(), &number, LONG_TIME).await?;
                barrier.wait().await;
                let keys: Vec<_> = (0..PROCESSES).map(|it| it.to_string()).collect();
                users.get_many::<i32, _>(keys).await
            }));
        }
        for task in tasks {
            let found = task.await.expect("the task ended without a panic")?;
            assert_eq!(found.len(), PROCESSES, "entries of all processes in round {round}");
        }
    }
    Ok(())
}

/// Two processes load and read while one clears: a call that begins after the clear returned does
/// not return a value from before it.
async fn no_call_after_the_clear_of_a_namespace_returns_an_older_value(ctx: &Ctx) -> TestResult {
    use std::sync::atomic::{AtomicU64, Ordering};
    const ROUNDS: u64 = 30;
    let [one, two] = processes(ctx);
    let source = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(Barrier::new(3));
    let mut tasks = Vec::new();
    for users in [one.clone(), two] {
        let (source, barrier) = (Arc::clone(&source), Arc::clone(&barrier));
        tasks.push(tokio::spawn(async move {
            let mut older = Vec::new();
            for _ in 0..ROUNDS {
                barrier.wait().await;
                for _ in 0..5 {
                    // The state of the source before the last clear that has returned.
                    let cleared = (source.load(Ordering::SeqCst) | 1).saturating_sub(2);
                    let load = || async {
                        let value = source.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        value
                    };
                    let found = users.get_or_set("k", Timeout::Never, load).await;
                    match found {
                        Ok(found) if found >= cleared => {}
                        found => older.push((found, cleared)),
                    }
                }
            }
            older
        }));
    }
    let mut cleared = Ok(());
    for _ in 0..ROUNDS {
        barrier.wait().await;
        source.fetch_add(1, Ordering::SeqCst);
        // The tasks would wait for this one if it ended.
        cleared = cleared.and(one.clear().await);
        source.fetch_add(1, Ordering::SeqCst);
    }
    cleared?;
    for task in tasks {
        let older = task.await.expect("the task ended without a panic");
        assert!(older.is_empty(), "values from before a clear: {older:?}");
    }
    Ok(())
}
