//! Who reads meanwhile sees one value or the other.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{Backend, Expiry, Result, SetMode};

use super::{ROUNDS, TASKS, count};
use crate::{
    ctx::{Ctx, LONG, LONG_TIME, borrowed},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    d20_an_expired_entry_is_never_in_the_way_of_a_write(timed),
    d21_touch_never_tears_a_read,
    values_are_never_mixed,
    values_of_batches_are_never_mixed,
    value_and_lifetime_belong_together,
    clear_spares_what_is_written_elsewhere_meanwhile,
];

/// "A purge must not delete a value written meanwhile (D20)": readers who find an expired entry, and purge it, never take
/// away what a writer puts in its place.
async fn d20_an_expired_entry_is_never_in_the_way_of_a_write(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(ROUNDS * 2);
    for key in &keys {
        ctx.put_for(key, "expired", ctx.short()).await?;
    }
    ctx.outlive_short().await;
    for key in &keys {
        let answers = ctx
            .race(TASKS, |n, store| {
                let key = key.clone();
                async move {
                    match n {
                        0 => drop(store.get_many(&[&key]).await.pop().expect("one answer")?),
                        1 => drop(store.get_entry(&key).await?),
                        2 => assert!(!store.touch(&key, LONG).await? || store.has(&key).await?),
                        3 => drop(store.has(&key).await?),
                        4 => {
                            store.set(&key, "new".into(), LONG, SetMode::Always).await?;
                            // From now on it is there, whatever the readers saw before.
                            return store.has(&key).await;
                        }
                        _ => {
                            let found = store.get(&key).await?;
                            assert!(
                                found.as_deref() != Some(b"expired"),
                                "an expired value came back"
                            );
                        }
                    }
                    Ok(false)
                }
            })
            .await;
        assert_eq!(count(answers)?, 1, "what was just written is gone");
        ctx.expect(key, Some(b"new"), "after the purge").await?;
    }
    Ok(())
}

/// `touch`: "never tears a concurrent read (D21)": the entry is live throughout, so each read finds all of it.
async fn d21_touch_never_tears_a_read(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let len = large(ctx);
    ctx.put(&key, vec![b'v'; len]).await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                for round in 0..30 {
                    if n % 4 < 2 {
                        let expiry = if round % 2 == 0 { Expiry::Never } else { LONG };
                        assert!(store.touch(&key, expiry).await?, "it is live all the time");
                    } else {
                        let found = store.get(&key).await?;
                        assert_one_value(found.as_deref(), len);
                    }
                }
                Ok(true)
            }
        })
        .await;
    count(answers)?;
    Ok(())
}

fn large(ctx: &Ctx) -> usize {
    (200 << 10).min(ctx.facts.max_value_len.unwrap_or(usize::MAX))
}

/// A value as the races write them: one byte, `len` times or with half the length.
fn assert_one_value(found: Option<&[u8]>, len: usize) {
    let found = found.expect("there is a value all the time");
    assert!(
        found.len() == len || found.len() == len / 2,
        "a value of {} bytes was never written",
        found.len()
    );
    assert!(found.iter().all(|it| *it == found[0]), "a read is a mixture of two values");
}

/// "Methods are atomic towards each other on one key": a read gives the one value or the other.
async fn values_are_never_mixed(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let len = large(ctx);
    ctx.put(&key, vec![b'v'; len]).await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                for round in 0..20 {
                    let letter = b'a' + u8::try_from(n).unwrap_or_default();
                    let value = vec![letter; if round % 2 == 0 { len } else { len / 2 }];
                    match n % 4 {
                        0 => drop(store.set(&key, value.into(), LONG, SetMode::Always).await?),
                        1 => drop(store.set(&key, value.into(), LONG, SetMode::IfPresent).await?),
                        _ => {}
                    }
                    assert_one_value(store.get(&key).await?.as_deref(), len);
                }
                Ok(true)
            }
        })
        .await;
    count(answers)?;
    Ok(())
}

/// Each value of a batch is whole; the batch as such is not one step.
async fn values_of_batches_are_never_mixed(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(8);
    let len = 10_000.min(large(ctx));
    let write = |letter: u8| -> Vec<(String, Bytes)> {
        keys.iter().map(|it| (it.clone(), vec![letter; len].into())).collect()
    };
    let rounds: Vec<_> = (b'a'..b'a' + 8).map(write).collect();
    set_all(&ctx.store, &rounds[0]).await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let (items, keys) = (rounds[n].clone(), keys.clone());
            async move {
                for _ in 0..20 {
                    if n % 4 < 2 {
                        set_all(&store, &items).await?;
                    }
                    for found in store.get_many(&borrowed(&keys)).await {
                        assert_one_value(found?.as_deref(), len);
                    }
                }
                Ok(true)
            }
        })
        .await;
    count(answers)?;
    Ok(())
}

async fn set_all(store: &Arc<dyn Backend>, items: &[(String, Bytes)]) -> Result<()> {
    let items: Vec<_> = items.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    store.set_many(&items, LONG).await.into_iter().collect()
}

/// `get_entry`: "both of one moment": no old value with a new lifetime.
async fn value_and_lifetime_belong_together(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_for(&key, "forever", Expiry::Never).await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                for round in 0..50 {
                    if n % 4 < 2 {
                        let (value, expiry) = if round % 2 == 0 {
                            ("mortal", LONG)
                        } else {
                            ("forever", Expiry::Never)
                        };
                        store.set(&key, value.into(), expiry, SetMode::Always).await?;
                        continue;
                    }
                    let entry = if round % 2 == 0 {
                        store.get_entry(&key).await?
                    } else {
                        store.get_entries(&[&key]).await.pop().expect("one answer")?
                    };
                    let entry = entry.expect("there is an entry all the time");
                    let forever = entry.ttl.at_least(LONG_TIME * 1000);
                    assert_eq!(
                        entry.value == "forever",
                        forever,
                        "{:?} with {:?}",
                        entry.value,
                        entry.ttl
                    );
                }
                Ok(true)
            }
        })
        .await;
    count(answers)?;
    Ok(())
}

/// `clear` removes its namespace "and nothing else", also not what is written while it goes through the store; and what
/// was there before is gone.
async fn clear_spares_what_is_written_elsewhere_meanwhile(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    for round in 0..10 {
        let before: Vec<_> = (0..50).map(|it| ctx.key(it)).collect();
        let items: Vec<_> = before.iter().map(|it| (it.clone(), "v".into())).collect();
        set_all(&ctx.store, &items).await?;
        let spared: Vec<_> =
            (0..TASKS).map(|n| ctx.foreign(format!("{}:eu:1:{round}-{n}", ctx.prefix()))).collect();
        let answers = ctx
            .race(TASKS, |n, store| {
                let (namespace, key) = (namespace.clone(), spared[n].clone());
                async move {
                    if n == 0 {
                        store.clear(&namespace).await?;
                    }
                    store.set(&key, "v".into(), LONG, SetMode::Always).await
                }
            })
            .await;
        count(answers)?;
        for key in &spared {
            ctx.expect(key, Some(b"v"), "in another namespace").await?;
        }
        for key in &before {
            ctx.expect(key, None, "after clear").await?;
        }
    }
    Ok(())
}
