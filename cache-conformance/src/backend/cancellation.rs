use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Instant};

use bytes::Bytes;
use cache_core::{Backend, Create, Result, SetMode};
use tokio::time::timeout;

use crate::{
    ctx::{Ctx, LONG, borrowed},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    a_dropped_read_disturbs_no_other_call,
    a_dropped_write_disturbs_no_other_call,
    a_dropped_write_has_its_effect_or_not,
    a_dropped_increment_counts_once_or_not,
    dropped_calls_among_others_disturb_none,
];

/// Polls a call so many times and drops it; whether it was done before.
async fn abandon<T>(call: impl Future<Output = T>, polls: usize) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let done = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if done {
            return true;
        }
        // Others get their turn: bytes arrive, threads answer.
        tokio::task::yield_now().await;
    }
    false
}

const ROUNDS: usize = 50;

/// "A dropped future never desynchronises a shared connection": the next answers belong to the next calls.
async fn a_dropped_read_disturbs_no_other_call(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(10);
    for key in &keys {
        ctx.put(key, key.clone()).await?;
    }
    let store = &ctx.store;
    for round in 0..ROUNDS {
        let polls = round % 5;
        let dropped = &keys[round % keys.len()];
        abandon(store.get(dropped), polls).await;
        abandon(store.get_many(&borrowed(&keys)), polls).await;
        abandon(store.get_entry(dropped), polls).await;
        abandon(store.get_entries(&borrowed(&keys)), polls).await;
        abandon(store.has(dropped), polls).await;
        abandon(store.ttl(dropped), polls).await;
        own_answers(ctx, &keys, round).await?;
    }
    Ok(())
}

/// Calls of other kinds, so that an answer that came to the wrong call is of the wrong kind, too.
async fn own_answers(ctx: &Ctx, keys: &[String], round: usize) -> TestResult {
    let key = &keys[(round * 7 + 3) % keys.len()];
    ctx.expect(key, Some(key.as_bytes()), "after a dropped call").await?;
    ctx.expect(&ctx.key("absent"), None, "after a dropped call").await?;
    let found =
        ctx.store.get_many(&borrowed(keys)).await.into_iter().collect::<Result<Vec<_>>>()?;
    assert!(
        found.iter().map(Option::as_deref).eq(keys.iter().map(|it| Some(it.as_bytes()))),
        "{found:?}"
    );
    assert!(ctx.store.has(key).await?);
    Ok(())
}

/// The same after writes of every kind.
async fn a_dropped_write_disturbs_no_other_call(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(10);
    for key in &keys {
        ctx.put(key, key.clone()).await?;
    }
    let (a, b) = (ctx.key("a"), ctx.key("b"));
    let store = &ctx.store;
    for round in 0..ROUNDS {
        let polls = round % 5;
        let large = Bytes::from(vec![b'x'; 10_000]);
        abandon(store.set(&a, large.clone(), LONG, SetMode::Always), polls).await;
        abandon(store.set(&b, large.clone(), LONG, SetMode::IfAbsent), polls).await;
        abandon(store.set_many(&[(&a, large.clone()), (&b, large)], LONG), polls).await;
        abandon(store.touch(&a, LONG), polls).await;
        abandon(store.rename(&a, &b), polls).await;
        abandon(store.delete_many(&[&a, &b]), polls).await;
        abandon(store.incr(&a, 1, Some(CounterInit { initial: 0, expiry: LONG })), polls).await;
        abandon(store.take(&b), polls).await;
        abandon(store.delete(&a), polls).await;
        own_answers(ctx, &keys, round).await?;
    }
    Ok(())
}

/// "A dropped future may have had its effect or not": nothing in between.
async fn a_dropped_write_has_its_effect_or_not(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let [old, new] = [b'o', b'n'].map(|it| Bytes::from(vec![it; 50_000]));
    for round in 0..ROUNDS * 2 {
        let start = Instant::now();
        ctx.put(&key, old.clone()).await?;
        let whole = start.elapsed();
        let call = ctx.store.set(&key, new.clone(), LONG, SetMode::Always);
        let step = round / 2 % 5;
        let done = if round % 2 == 0 {
            abandon(call, step).await
        } else {
            // From before a thread or a server has begun with it to after it is done, however busy the machine is.
            timeout(whole * u32::try_from(step).unwrap_or_default() / 2, call).await.is_ok()
        };
        let found = ctx.get(&key).await?;
        let found = found.as_ref().expect("there is a value all the time");
        assert!(*found == new || (*found == old && !done), "neither the old value nor the new one");
        // It may be on its way still, but once it is overtaken it stays so.
        ctx.store.delete(&key).await?;
    }
    Ok(())
}

/// "an `incr` may have counted", and not twice.
async fn a_dropped_increment_counts_once_or_not(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "0").await?;
    let mut done = 0;
    for round in 0..ROUNDS {
        done += i64::from(abandon(ctx.store.incr(&key, 1, None), round % 5).await);
    }
    let sum = ctx.store.incr(&key, 0, None).await?.expect("the counter is there");
    let most = i64::try_from(ROUNDS).unwrap_or(i64::MAX);
    assert!(done <= sum && sum <= most, "{done} of {most} increments were answered, {sum} counted");
    Ok(())
}

/// Calls that share connections with dropped ones, at the same time.
async fn dropped_calls_among_others_disturb_none(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(8);
    for key in &keys {
        ctx.put(key, key.clone()).await?;
    }
    let answers = ctx
        .race(8, |n, store: Arc<dyn Backend>| {
            let keys = keys.clone();
            async move {
                for round in 0..50 {
                    let key = &keys[(n + round) % keys.len()];
                    abandon(store.get(key), round % 4).await;
                    abandon(store.get_many(&borrowed(&keys)), (n + round) % 4).await;
                    let found = store.get(&keys[n]).await?;
                    assert_eq!(found, Some(keys[n].clone().into()), "the answer to another call");
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<Result<()>>()?;
    Ok(())
}
