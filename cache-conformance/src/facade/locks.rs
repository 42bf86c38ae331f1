use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{Cache, ErrorKind, Timeout, secs};

use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    lock_has_one_owner,
    concurrent_try_locks_have_exactly_one_winner,
    locks_of_several_processes_exclude_each_other,
    lock_waits_until_its_owner_releases_it,
    lock_ends_with_its_lease(timed),
    extended_lock_lasts_longer(timed),
    release_leaves_the_lock_of_the_next_owner,
    dropped_lock_is_released,
    lock_is_no_entry,
    lock_of_another_version_is_another_lock,
    clear_ends_locks,
    numbers_of_owners_increase,
    lock_without_an_end_is_refused,
];

/// A second owner gets the lock only after the first has released it.
async fn lock_has_one_owner(ctx: &Ctx) -> TestResult {
    let [one, two] = ctx.processes();
    let lock = one.lock("job", LONG_TIME).acquire().await?;
    assert!(!lock.is_lost());
    assert!(two.try_lock("job", LONG_TIME).await?.is_none(), "another process acquired the lock");
    assert!(one.try_lock("job", LONG_TIME).await?.is_none(), "the owner acquired it twice");
    assert!(two.try_lock("other", LONG_TIME).await?.is_some(), "another lock was not free");
    assert!(lock.release().await?, "the lock was lost");
    assert!(two.try_lock("job", LONG_TIME).await?.is_some(), "a released lock was not free");
    Ok(())
}

/// Of 8 callers that try at the same time, one gets the lock.
async fn concurrent_try_locks_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    let processes = ctx.processes::<4>();
    for round in 0..20 {
        let name = format!("job-{round}");
        let res = ctx
            .race(8, |n, _| {
                let (cache, name) = (processes[n % processes.len()].clone(), name.clone());
                async move { cache.try_lock(&name, LONG_TIME).await }
            })
            .await;
        let locks: Vec<_> = res.into_iter().collect::<Result<_, _>>()?;
        assert_eq!(locks.iter().flatten().count(), 1, "owners in round {round}");
    }
    Ok(())
}

/// A change that takes several steps loses nothing under a lock.
async fn locks_of_several_processes_exclude_each_other(ctx: &Ctx) -> TestResult {
    let inside = Arc::new(AtomicUsize::new(0));
    let processes = ctx.processes::<4>();
    let cache = ctx.cache();
    cache.set("count", &0, Timeout::Default).await?;
    let work = async |cache: Cache, inside: Arc<AtomicUsize>| {
        for _ in 0..5 {
            let lock = cache.lock("job", LONG_TIME).acquire().await?;
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "two owners at a time");
            let count: i32 = cache.strict().get("count").await?.unwrap_or_default();
            cache.strict().set("count", &(count + 1), Timeout::Default).await?;
            inside.fetch_sub(1, SeqCst);
            assert!(lock.release().await?, "the lock was lost");
        }
        Ok::<_, cache_core::Error>(())
    };
    for res in ctx.race(4, |n, _| work(processes[n].clone(), Arc::clone(&inside))).await {
        res?;
    }
    assert_eq!(cache.get::<i32>("count").await?, Some(20));
    Ok(())
}

/// `acquire` gets the lock after the release, and gives up at the end of its wait.
async fn lock_waits_until_its_owner_releases_it(ctx: &Ctx) -> TestResult {
    let [one, two] = ctx.processes();
    let lock = one.lock("job", LONG_TIME).acquire().await?;
    let error = two.lock("job", LONG_TIME).wait(Duration::from_millis(20)).acquire().await;
    let error = error.expect_err("two owners");
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    assert!(error.to_string().contains("another owner"), "{error}");
    let waiting = tokio::spawn(async move { two.lock("job", LONG_TIME).acquire().await });
    assert!(lock.release().await?);
    assert!(waiting.await.expect("no panic")?.release().await?);
    Ok(())
}

/// The lock of an owner that does nothing ends with its lease, and its owner knows.
async fn lock_ends_with_its_lease(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let lock = cache.lock("job", ctx.short_time()).acquire().await?;
    ctx.outlive_short().await;
    assert!(lock.is_lost());
    lock.lost().await;
    let next = cache.try_lock("job", LONG_TIME).await?;
    assert!(next.is_some(), "the lock did not end");
    assert!(!lock.extend(LONG_TIME).await?, "a lost lock was extended");
    assert_eq!(lock.number().await?, None);
    assert!(!lock.release().await?, "a lost lock was released");
    assert!(cache.try_lock("job", LONG_TIME).await?.is_none(), "a lost lock ended the next one");
    Ok(())
}

/// `extend` counts the lease from now.
async fn extended_lock_lasts_longer(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let lock = cache.lock("job", ctx.short_time()).acquire().await?;
    if !lock.extend(LONG_TIME).await? {
        // A slow machine: the lease ended before the call.
        return Ok(());
    }
    ctx.outlive_short().await;
    assert!(!lock.is_lost());
    assert!(cache.try_lock("job", LONG_TIME).await?.is_none(), "the lock ended");
    assert!(lock.release().await?);
    Ok(())
}

/// A former owner does not release the lock of its successor.
async fn release_leaves_the_lock_of_the_next_owner(ctx: &Ctx) -> TestResult {
    let [one, two] = ctx.processes();
    let lock = one.lock("job", LONG_TIME).acquire().await?;
    one.clear().await?;
    let next = two.lock("job", LONG_TIME).acquire().await?;
    assert!(!lock.release().await?, "a lock that was cleared was released");
    assert!(one.try_lock("job", LONG_TIME).await?.is_none(), "the successor's lock ended");
    assert!(next.release().await?);
    Ok(())
}

/// Dropping a lock releases it, soon.
async fn dropped_lock_is_released(ctx: &Ctx) -> TestResult {
    let [one, two] = ctx.processes();
    drop(one.lock("job", LONG_TIME).acquire().await?);
    // Much shorter than the lease of the first lock.
    let next = two.lock("job", LONG_TIME).wait(Duration::from_secs(60)).acquire().await?;
    assert!(next.release().await?);
    Ok(())
}

/// A lock shares no key with an entry.
async fn lock_is_no_entry(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("job", &1, Timeout::Default).await?;
    let lock = cache.lock("job", LONG_TIME).acquire().await?;
    assert_eq!(cache.get::<i32>("job").await?, Some(1));
    assert!(cache.delete("job").await?);
    assert!(cache.try_lock("job", LONG_TIME).await?.is_none(), "`delete` ended the lock");
    assert!(lock.release().await?);
    Ok(())
}

/// Each version has its own locks.
async fn lock_of_another_version_is_another_lock(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let lock = cache.lock("job", LONG_TIME).acquire().await?;
    assert!(cache.at_version(2).try_lock("job", LONG_TIME).await?.is_some());
    assert!(lock.release().await?);
    Ok(())
}

/// `clear` ends the locks of its namespace, and an owner finds out with its next extension.
async fn clear_ends_locks(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let lock = cache.lock("job", LONG_TIME).acquire().await?;
    cache.clear().await?;
    assert!(!lock.extend(LONG_TIME).await?);
    assert!(lock.is_lost());
    Ok(())
}

/// Each owner has a larger number than the owners before it.
async fn numbers_of_owners_increase(ctx: &Ctx) -> TestResult {
    let processes = ctx.processes::<3>();
    let mut last = 0;
    for cache in processes.iter().cycle().take(9) {
        let lock = cache.lock("job", LONG_TIME).acquire().await?;
        let number = lock.number().await?.expect("the lock is held");
        assert!(number > last, "{number} after {last}");
        assert_eq!(lock.number().await?, Some(number), "the number of one owner changed");
        assert!(lock.release().await?);
        last = number;
    }
    Ok(())
}

/// A lock needs an end.
async fn lock_without_an_end_is_refused(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for lease in [Timeout::Never, secs(0)] {
        let error = cache.try_lock("job", lease).await.expect_err("no error");
        assert_eq!(error.kind(), ErrorKind::Config, "{lease:?}: {error}");
    }
    assert!(cache.try_lock("job", LONG_TIME).await?.is_some());
    Ok(())
}
