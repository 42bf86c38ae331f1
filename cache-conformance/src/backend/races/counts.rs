//! What several add up is all there.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{Backend, Create, Lifetime, Result, Seen, Ttl};

use super::{ROUNDS, TASKS, count};
use crate::{
    ctx::{Ctx, LONG},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    d06_no_increment_is_lost,
    d06_no_increment_from_nothing_is_lost,
    compare_and_set_loses_no_update,
    pop_loses_no_count,
    touch_loses_no_increment,
];

/// `incr`: "atomic everywhere (D6: 60 and 162 instead of 400)": 8 tasks of 50 increments.
async fn d06_no_increment_is_lost(ctx: &Ctx) -> TestResult {
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
    assert!(sums.into_iter().eq((1..=400).map(Some)), "each increment has a sum of its own");
    ctx.expect_life(&key, LONG, start, "after 400 increments").await?;
    Ok(())
}

/// `incr_or`: creates "in one step, so that no crash leaves an immortal counter", and once.
async fn d06_no_increment_from_nothing_is_lost(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let (key, start) = (ctx.key(round), ctx.now());
        let create = Some(CounterInit { initial: 100, expiry: LONG });
        let answers = ctx
            .race(TASKS, |_, store| {
                let key = key.clone();
                async move {
                    for _ in 0..5 {
                        store.incr(&key, 1, create).await?;
                    }
                    // Whoever looks first: a counter without lifetime must not be there even for a moment.
                    store.ttl(&key).await
                }
            })
            .await;
        for ttl in answers {
            assert!(
                !matches!(ttl?, None | Some(Ttl::Forever)),
                "the counter has its lifetime at once"
            );
        }
        ctx.expect(&key, Some(b"140"), "after 40 increments from 100").await?;
        ctx.expect_life(&key, LONG, start, "after 40 increments").await?;
    }
    Ok(())
}

/// `update`: "read, change, compare-and-set, again on conflict" loses nothing.
async fn compare_and_set_loses_no_update(ctx: &Ctx) -> TestResult {
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

async fn add_one(store: &Arc<dyn Backend>, key: &str, by_stamp: bool) -> Result<()> {
    loop {
        let seen = store.get_entry(key).await?.expect("nobody removes it");
        let number: u64 =
            std::str::from_utf8(&seen.value).ok().and_then(|it| it.parse().ok()).expect("a number");
        let look = if by_stamp { Expected::entry(&seen) } else { Expected::value(&seen.value) };
        let next = (number + 1).to_string().into();
        if store.compare_and_set(key, look, next, TtlUpdate::Keep).await? {
            return Ok(());
        }
    }
}

/// What is counted while the counter is taken again and again is in one of the takings.
async fn pop_loses_no_count(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let create = Some(CounterInit { initial: 0, expiry: LONG });
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
    assert_eq!(taken + left, 50 * 6, "taken and left");
    Ok(())
}

/// `touch` writes no value, so it cannot write an old one.
async fn touch_loses_no_increment(ctx: &Ctx) -> TestResult {
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
                        assert!(store.touch(&key, LONG).await?, "it is live all the time");
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
