//! Concurrent changes of one counter: none is lost.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{Backend, CounterInit, Expected, TtlUpdate},
};

use super::rounds::{ROUNDS, TASKS, count};
use crate::{
    ctx::{Ctx, LONG},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    concurrent_increments_are_all_counted,
    concurrent_increments_of_a_new_counter_are_all_counted,
    concurrent_compare_and_sets_lose_no_update,
    concurrent_pops_lose_no_increment,
    concurrent_touches_lose_no_increment,
];

/// `incr` is atomic: 8 tasks with 50 increments each count to 400, and each sum is returned once.
async fn concurrent_increments_are_all_counted(ctx: &Ctx) -> TestResult {
    let (key, start) = (ctx.key("k"), ctx.now());
    ctx.put(&key, "0").await?;
    let answers = ctx
        .race(TASKS, |_, store| {
            let key = key.clone();
            async move {
                let mut res = Vec::new();
                for _ in 0..50 {
                    res.push(store.incr(&key, 1, None).await?);
                }
                Ok::<_, cache_core::Error>(res)
            }
        })
        .await;
    let answers: Vec<_> = answers.into_iter().collect::<Result<_>>()?;
    ctx.expect(&key, Some(b"400"), "after 400 increments").await?;
    let mut sums: Vec<_> = answers.concat();
    sums.sort_unstable();
    assert!(sums.into_iter().eq((1..=400).map(Some)), "each sum from 1 to 400 is returned once");
    ctx.expect_lifetime(&key, LONG, start, "after 400 increments").await?;
    Ok(())
}

/// `incr` with a [`CounterInit`] creates the counter once, in one step with its lifetime: a crash
/// between two steps would leave a counter that never expires.
async fn concurrent_increments_of_a_new_counter_are_all_counted(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let (key, start) = (ctx.key(round), ctx.now());
        let create = Some(CounterInit::new(100, LONG));
        let answers = ctx
            .race(TASKS, |_, store| {
                let key = key.clone();
                async move {
                    for _ in 0..5 {
                        store.incr(&key, 1, create).await?;
                    }
                    // The counter must not be without its lifetime even for a moment.
                    store.ttl(&key).await
                }
            })
            .await;
        for ttl in answers {
            assert!(!matches!(ttl?, None | Some(Ttl::Forever)), "a counter without its lifetime");
        }
        ctx.expect(&key, Some(b"140"), "after 40 increments from 100").await?;
        ctx.expect_lifetime(&key, LONG, start, "after 40 increments").await?;
    }
    Ok(())
}

/// Tasks that read, change and compare-and-set, again on a conflict, lose no change.
async fn concurrent_compare_and_sets_lose_no_update(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "0").await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                for _ in 0..25 {
                    add_one(&store, &key, n % 4 < 2).await?;
                }
                Ok(true)
            }
        })
        .await;
    count(answers)?;
    ctx.expect(&key, Some(b"200"), "after 200 updates").await?;
    Ok(())
}

/// Adds one to the number under `key`, by compare-and-set with the stamp or with the value alone.
async fn add_one(store: &Arc<dyn Backend>, key: &str, by_stamp: bool) -> Result<()> {
    loop {
        let seen = store.get_entry(key).await?.expect("the counter is live");
        let number: u64 =
            std::str::from_utf8(&seen.value).ok().and_then(|it| it.parse().ok()).expect("a number");
        let expected = if by_stamp { Expected::entry(&seen) } else { Expected::value(&seen.value) };
        let next = (number + 1).to_string().into();
        if store.compare_and_set(key, expected, next, TtlUpdate::Keep).await? {
            return Ok(());
        }
    }
}

/// Every increment is in one of the values that `take` returned, or in the counter at the end.
async fn concurrent_pops_lose_no_increment(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let create = Some(CounterInit::new(0, LONG));
    let number = |it: Option<Bytes>| -> i64 {
        it.map_or(0, |it| {
            std::str::from_utf8(&it).ok().and_then(|it| it.parse().ok()).expect("a number")
        })
    };
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                let mut taken = 0;
                for _ in 0..50 {
                    if n < 2 {
                        taken += number(store.take(&key).await?);
                    } else {
                        store.incr(&key, 1, create).await?;
                    }
                }
                Ok(taken)
            }
        })
        .await;
    let taken: i64 = answers.into_iter().collect::<Result<Vec<_>>>()?.into_iter().sum();
    let left = number(ctx.get(&key).await?);
    assert_eq!(taken + left, 50 * 6, "the increments that take returned, and those left");
    Ok(())
}

/// `touch` does not write back an old value.
async fn concurrent_touches_lose_no_increment(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "0").await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                for _ in 0..50 {
                    if n % 4 < 2 {
                        store.incr(&key, 1, None).await?;
                    } else {
                        returned!(store.touch(&key, LONG).await?, true, "touch of a live counter");
                    }
                }
                Ok(true)
            }
        })
        .await;
    count(answers)?;
    ctx.expect(&key, Some(b"200"), "after 200 increments").await?;
    Ok(())
}
