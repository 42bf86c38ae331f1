//! Reads during writes: each sees one whole value.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    Result,
    store::{Backend, Expiry, SetMode},
};

use super::rounds::{ROUNDS, TASKS, count};
use crate::{
    ctx::{Ctx, LONG, LONG_TIME, borrowed},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    purge_of_an_expired_entry_never_removes_a_new_value(timed),
    touch_never_hides_or_tears_a_value,
    concurrent_writes_never_mix_values,
    concurrent_batches_never_mix_values,
    get_entry_never_mixes_value_and_lifetime_of_two_writes,
    clear_keeps_concurrent_writes_to_other_namespaces,
];

/// A read that finds an expired entry and purges it never removes the value that a writer stores at
/// the same time.
async fn purge_of_an_expired_entry_never_removes_a_new_value(ctx: &Ctx) -> TestResult {
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
                        0 => drop(store.get_many(&[&key]).await.pop().expect("one result")?),
                        1 => drop(store.get_entry(&key).await?),
                        2 => assert!(!store.touch(&key, LONG).await? || store.has(&key).await?),
                        3 => drop(store.has(&key).await?),
                        4 => {
                            store.set(&key, "new".into(), LONG, SetMode::Always).await?;
                            // From now on the value must be live, whatever the readers found
                            // before.
                            return store.has(&key).await;
                        }
                        _ => {
                            let found = store.get(&key).await?;
                            assert!(
                                found.as_deref() != Some(b"expired"),
                                "get returned an expired value"
                            );
                        }
                    }
                    Ok(false)
                }
            })
            .await;
        assert_eq!(count(answers)?, 1, "{key}: has right after set (1 is true)");
        ctx.expect(key, Some(b"new"), "after reads that purge").await?;
    }
    Ok(())
}

/// During `touch`, each read finds the whole value.
async fn touch_never_hides_or_tears_a_value(ctx: &Ctx) -> TestResult {
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
                        returned!(store.touch(&key, expiry).await?, true, "touch of a live key");
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
    (200 << 10).min(ctx.capabilities.max_value_len.unwrap_or(usize::MAX))
}

/// Asserts that a value is as the races write it: one letter, `len` times or half as often.
fn assert_one_value(found: Option<&[u8]>, len: usize) {
    let found = found.expect("a read found no value, though the key is live all the time");
    assert!(
        found.len() == len || found.len() == len / 2,
        "a read returned {} bytes, expected {len} or half of it",
        found.len()
    );
    assert!(found.iter().all(|it| *it == found[0]), "a read returned a mixture of two values");
}

/// A read during writes returns one of the values as a whole.
async fn concurrent_writes_never_mix_values(ctx: &Ctx) -> TestResult {
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

/// Each value of a batch is whole, though the batch is not one step.
async fn concurrent_batches_never_mix_values(ctx: &Ctx) -> TestResult {
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

/// `get_entry` and `get_entries` return value and lifetime of the same write.
async fn get_entry_never_mixes_value_and_lifetime_of_two_writes(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    ctx.put_for(&key, "forever", Expiry::Never).await?;
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                for round in 0..50 {
                    if n % 4 < 2 {
                        let (value, expiry) = if round % 2 == 0 {
                            ("expires", LONG)
                        } else {
                            ("forever", Expiry::Never)
                        };
                        store.set(&key, value.into(), expiry, SetMode::Always).await?;
                        continue;
                    }
                    let entry = if round % 2 == 0 {
                        store.get_entry(&key).await?
                    } else {
                        store.get_entries(&[&key]).await.pop().expect("one result")?
                    };
                    let entry = entry.expect("the key is live all the time");
                    let forever = entry.ttl.at_least(LONG_TIME * 1000);
                    assert_eq!(
                        entry.value == "forever",
                        forever,
                        "the value {:?} has the ttl {:?}",
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

/// `clear` keeps keys of other namespaces that are written while it runs, and removes what was
/// there before.
async fn clear_keeps_concurrent_writes_to_other_namespaces(ctx: &Ctx) -> TestResult {
    let namespace = ctx.namespace(ctx.prefix());
    for round in 0..10 {
        let before: Vec<_> = (0..50).map(|it| ctx.key(it)).collect();
        let items: Vec<_> = before.iter().map(|it| (it.clone(), "v".into())).collect();
        set_all(&ctx.store, &items).await?;
        let kept: Vec<_> =
            (0..TASKS).map(|n| ctx.foreign(format!("{}:eu:1:{round}-{n}", ctx.prefix()))).collect();
        let answers = ctx
            .race(TASKS, |n, store| {
                let (namespace, key) = (namespace.clone(), kept[n].clone());
                async move {
                    if n == 0 {
                        store.clear(&namespace).await?;
                    }
                    store.set(&key, "v".into(), LONG, SetMode::Always).await
                }
            })
            .await;
        count(answers)?;
        for key in &kept {
            ctx.expect(key, Some(b"v"), "a key in another namespace").await?;
        }
        for key in &before {
            ctx.expect(key, None, "after clear").await?;
        }
    }
    Ok(())
}
