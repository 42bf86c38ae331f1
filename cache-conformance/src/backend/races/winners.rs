//! Calls of which exactly one may succeed.

use cache_core::{
    Result,
    store::{Expected, Expiry, SetMode},
};

use super::rounds::{ROUNDS, TASKS, count};
use crate::{
    ctx::{Ctx, LONG, borrowed},
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    concurrent_adds_have_exactly_one_winner,
    concurrent_adds_over_an_expired_entry_have_exactly_one_winner(timed),
    concurrent_pops_have_exactly_one_winner,
    concurrent_deletes_have_exactly_one_winner,
    concurrent_compare_and_deletes_have_exactly_one_winner,
    concurrent_renames_have_exactly_one_winner,
    concurrent_rename_and_pop_have_exactly_one_winner,
    concurrent_adds_and_deletes_alternate,
    replace_never_revives_a_deleted_key,
    touch_never_revives_a_deleted_key,
];

/// One of several concurrent `add` calls succeeds. Django's file cache had several winners in 29 of
/// 30 rounds.
async fn concurrent_adds_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        check_one_adder(ctx, &key).await?;
    }
    Ok(())
}

/// An expired entry counts as absent, and one `add` replaces it.
async fn concurrent_adds_over_an_expired_entry_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(ROUNDS);
    for key in &keys {
        ctx.put_for(key, "expired", ctx.short()).await?;
    }
    ctx.outlive_short().await;
    for key in &keys {
        check_one_adder(ctx, key).await?;
    }
    Ok(())
}

/// Races `add` calls on `key` and checks that exactly one call succeeds and its value is stored.
async fn check_one_adder(ctx: &Ctx, key: &str) -> TestResult {
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.to_owned();
            async move { store.set(&key, n.to_string().into(), LONG, SetMode::IfAbsent).await }
        })
        .await;
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let winners: Vec<_> = (0..TASKS).filter(|&n| answers[n]).collect();
    assert_eq!(winners.len(), 1, "the tasks {winners:?} got true from add of {key}");
    ctx.expect(key, Some(winners[0].to_string().as_bytes()), "the value of the winner").await?;
    Ok(())
}

/// One of several concurrent `take` calls gets the value.
async fn concurrent_pops_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, "v").await?;
        let answers = ctx
            .race(TASKS, |_, store| {
                let key = key.clone();
                async move { store.take(&key).await.map(|it| it.is_some()) }
            })
            .await;
        assert_eq!(count(answers)?, 1, "take calls that got the value");
    }
    Ok(())
}

/// One of several concurrent `delete` and `delete_many` calls removes the entry.
async fn concurrent_deletes_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, "v").await?;
        let answers = ctx
            .race(TASKS, |n, store| {
                let key = key.clone();
                async move {
                    if n % 4 < 2 {
                        store.delete(&key).await
                    } else {
                        store.delete_many(&[&key]).await.pop().expect("one result")
                    }
                }
            })
            .await;
        assert_eq!(count(answers)?, 1, "calls that removed the entry");
    }
    Ok(())
}

/// One of several concurrent `compare_and_delete` calls removes the entry.
async fn concurrent_compare_and_deletes_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, "v").await?;
        let seen = ctx.store.get_entry(&key).await?.expect("the entry is live");
        let answers = ctx
            .race(TASKS, |_, store| {
                let (key, seen) = (key.clone(), seen.clone());
                async move { store.compare_and_delete(&key, Expected::entry(&seen)).await }
            })
            .await;
        assert_eq!(count(answers)?, 1, "calls that removed the entry");
    }
    Ok(())
}

/// One of several concurrent `rename` calls moves the entry, to one target.
async fn concurrent_renames_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let from = ctx.key(format_args!("{round}-from"));
        let targets: Vec<_> =
            (0..TASKS).map(|it| ctx.key(format_args!("{round}-to{it}"))).collect();
        ctx.put(&from, "v").await?;
        let answers = ctx
            .race(TASKS, |n, store| {
                let (from, to) = (from.clone(), targets[n].clone());
                async move { store.rename(&from, &to).await }
            })
            .await;
        assert_eq!(count(answers)?, 1, "rename calls that returned true");
        let found = ctx
            .store
            .get_many(&borrowed(&targets))
            .await
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(found.iter().flatten().count(), 1, "targets with the value");
        ctx.expect(&from, None, "the old key").await?;
    }
    Ok(())
}

/// An entry that `take` removed during a `rename` is not at the target as well.
async fn concurrent_rename_and_pop_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let from = ctx.key(format_args!("{round}-from"));
        let to = ctx.key(format_args!("{round}-to"));
        ctx.put(&from, "v").await?;
        let answers = ctx
            .race(2, |n, store| {
                let (from, to) = (from.clone(), to.clone());
                async move {
                    if n == 0 {
                        store.rename(&from, &to).await
                    } else {
                        store.take(&from).await.map(|it| it.is_some())
                    }
                }
            })
            .await;
        let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let is_moved = answers[0];
        assert_ne!(
            is_moved, answers[1],
            "rename returned {is_moved}, take got the value: {}",
            answers[1]
        );
        let moved: Option<&[u8]> = if is_moved { Some(b"v") } else { None };
        ctx.expect(&to, moved, "the target").await?;
        ctx.expect(&from, None, "the old key").await?;
    }
    Ok(())
}

/// `add` succeeds as often as `delete`, or once more if the key is live at the end.
async fn concurrent_adds_and_deletes_alternate(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.clone();
            async move {
                let mut done: i64 = 0;
                for round in 0..50 {
                    if (n + round) % 2 == 0 {
                        done +=
                            i64::from(store.set(&key, "v".into(), LONG, SetMode::IfAbsent).await?);
                    } else {
                        done -= i64::from(store.delete(&key).await?);
                    }
                }
                Ok(done)
            }
        })
        .await;
    let sum: i64 = answers.into_iter().collect::<Result<Vec<_>>>()?.into_iter().sum();
    assert_eq!(
        sum,
        i64::from(ctx.store.has(&key).await?),
        "successful adds less successful deletes"
    );
    Ok(())
}

/// `replace` does not store a value after a concurrent `delete` removed the entry.
async fn replace_never_revives_a_deleted_key(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, "v").await?;
        let answers = ctx
            .race(TASKS, |n, store| {
                let key = key.clone();
                async move {
                    if n == TASKS / 2 {
                        return store.delete(&key).await;
                    }
                    store
                        .set(&key, vec![b'x'; 1000].into(), LONG, SetMode::IfPresent)
                        .await
                        .map(|_| false)
                }
            })
            .await;
        assert_eq!(count(answers)?, 1, "delete of a live key (1 is true)");
        ctx.expect(&key, None, "after delete").await?;
    }
    Ok(())
}

/// `touch` does not revive an entry that a concurrent `delete` removed.
async fn touch_never_revives_a_deleted_key(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, vec![b'x'; 1000]).await?;
        let answers = ctx
            .race(TASKS, |n, store| {
                let key = key.clone();
                async move {
                    if n == TASKS / 2 {
                        return store.delete(&key).await;
                    }
                    store.touch(&key, Expiry::Never).await.map(|_| false)
                }
            })
            .await;
        assert_eq!(count(answers)?, 1, "delete of a live key (1 is true)");
        ctx.expect(&key, None, "after delete").await?;
    }
    Ok(())
}
