use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Instant};

use bytes::Bytes;
use cache_core::{
    Result,
    store::{Backend, CounterInit, SetMode},
};
use tokio::time::timeout;

use crate::{
    ctx::{Ctx, LONG, borrowed},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    dropped_read_disturbs_no_other_call,
    dropped_write_disturbs_no_other_call,
    dropped_write_takes_full_effect_or_none,
    dropped_increment_counts_at_most_once,
    concurrent_dropped_calls_disturb_no_other_call,
];

/// Polls a call `polls` times, then drops it. Returns whether the call was done before.
async fn abandon<T>(call: impl Future<Output = T>, polls: usize) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let done = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if done {
            return true;
        }
        // Lets connections and threads make progress.
        tokio::task::yield_now().await;
    }
    false
}

const ROUNDS: usize = 50;

/// A dropped read does not shift the replies of a shared connection: later calls get their own
/// replies.
async fn dropped_read_disturbs_no_other_call(ctx: &Ctx) -> TestResult {
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
        check_own_replies(ctx, &keys, round).await?;
    }
    Ok(())
}

/// Checks that calls of several kinds get their own replies: a reply to another call often has
/// another type.
async fn check_own_replies(ctx: &Ctx, keys: &[String], round: usize) -> TestResult {
    let key = &keys[(round * 7 + 3) % keys.len()];
    ctx.expect(key, Some(key.as_bytes()), "after a dropped call").await?;
    ctx.expect(&ctx.key("absent"), None, "after a dropped call").await?;
    let found =
        ctx.store.get_many(&borrowed(keys)).await.into_iter().collect::<Result<Vec<_>>>()?;
    assert!(
        found.iter().map(Option::as_deref).eq(keys.iter().map(|it| Some(it.as_bytes()))),
        "get_many after a dropped call returned {found:?}"
    );
    returned!(ctx.store.has(key).await?, true, "has of a live key after a dropped call");
    Ok(())
}

/// A dropped write does not shift the replies of a shared connection.
async fn dropped_write_disturbs_no_other_call(ctx: &Ctx) -> TestResult {
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
        abandon(store.incr(&a, 1, Some(CounterInit::new(0, LONG))), polls).await;
        abandon(store.take(&b), polls).await;
        abandon(store.delete(&a), polls).await;
        check_own_replies(ctx, &keys, round).await?;
    }
    Ok(())
}

/// A dropped `set` stores the whole new value or leaves the whole old one.
async fn dropped_write_takes_full_effect_or_none(ctx: &Ctx) -> TestResult {
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
            // From before a thread or a server begins with the call to after its end, however busy
            // the machine is.
            timeout(whole * u32::try_from(step).unwrap_or_default() / 2, call).await.is_ok()
        };
        let found = ctx.get(&key).await?;
        let found = found.as_ref().expect("the key holds the old or the new value");
        assert!(
            *found == new || (*found == old && !done),
            "round {round}: the value is neither the old nor the new one (the dropped set was done: {done})"
        );
        // The dropped `set` may still be under way, but no call that starts later may be overtaken
        // by it.
        ctx.store.delete(&key).await?;
    }
    Ok(())
}

/// A dropped `incr` counts once or not at all.
async fn dropped_increment_counts_at_most_once(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put(&key, "0").await?;
    let mut done = 0;
    for round in 0..ROUNDS {
        done += i64::from(abandon(ctx.store.incr(&key, 1, None), round % 5).await);
    }
    let sum = ctx.store.incr(&key, 0, None).await?.expect("the counter is live");
    let most = i64::try_from(ROUNDS).unwrap_or(i64::MAX);
    assert!(
        done <= sum && sum <= most,
        "the counter is {sum}, expected {done} (the calls that returned) to {most} (all calls)"
    );
    Ok(())
}

/// Dropped calls disturb no other calls that share a connection with them at the same time.
async fn concurrent_dropped_calls_disturb_no_other_call(ctx: &Ctx) -> TestResult {
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
                    assert_eq!(
                        found,
                        Some(keys[n].clone().into()),
                        "get returned the reply to another call"
                    );
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<Result<()>>()?;
    Ok(())
}
