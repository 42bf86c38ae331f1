//! Several want one thing, and one gets it.

use cache_core::{Expiry, Result, Seen, SetMode};

use super::{ROUNDS, TASKS, count};
use crate::{
    ctx::{Ctx, LONG, borrowed},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    d07_add_has_exactly_one_winner,
    d07_add_has_one_winner_over_an_expired_entry(timed),
    pop_has_exactly_one_winner,
    delete_has_exactly_one_winner,
    compare_and_delete_has_exactly_one_winner,
    rename_has_exactly_one_winner,
    rename_and_pop_have_exactly_one_winner,
    add_and_delete_take_turns,
    replace_never_revives,
    touch_never_revives_what_is_deleted,
];

/// `add`: "exactly one winner under any race (D7: Django's file cache had 29 bad rounds in 30)".
async fn d07_add_has_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        one_adder(ctx, &key).await?;
    }
    Ok(())
}

/// `add`: "an expired entry counts as absent", and has one successor.
async fn d07_add_has_one_winner_over_an_expired_entry(ctx: &Ctx) -> TestResult {
    let keys = ctx.keys(ROUNDS);
    for key in &keys {
        ctx.put_for(key, "expired", ctx.short()).await?;
    }
    ctx.outlive_short().await;
    for key in &keys {
        one_adder(ctx, key).await?;
    }
    Ok(())
}

async fn one_adder(ctx: &Ctx, key: &str) -> TestResult {
    let answers = ctx
        .race(TASKS, |n, store| {
            let key = key.to_owned();
            async move { store.set(&key, n.to_string().into(), LONG, SetMode::IfAbsent).await }
        })
        .await;
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let winners: Vec<_> = (0..TASKS).filter(|&n| answers[n]).collect();
    assert_eq!(winners.len(), 1, "these were told that they had added the key: {winners:?}");
    ctx.expect(key, Some(winners[0].to_string().as_bytes()), "the winner's value stays").await?;
    Ok(())
}

/// `pop`: "one of several callers gets it".
async fn pop_has_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, "v").await?;
        let answers = ctx
            .race(TASKS, |_, store| {
                let key = key.clone();
                async move { store.take(&key).await.map(|it| it.is_some()) }
            })
            .await;
        assert_eq!(count(answers)?, 1, "that many took one entry");
    }
    Ok(())
}

/// `delete`: "true iff a live entry was removed", which happens once; `delete_many` alike.
async fn delete_has_exactly_one_winner(ctx: &Ctx) -> TestResult {
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
                        store.delete_many(&[&key]).await.pop().expect("one answer")
                    }
                }
            })
            .await;
        assert_eq!(count(answers)?, 1, "that many removed one entry");
    }
    Ok(())
}

/// Two who saw the same entry cannot both remove it.
async fn compare_and_delete_has_exactly_one_winner(ctx: &Ctx) -> TestResult {
    for round in 0..ROUNDS {
        let key = ctx.key(round);
        ctx.put(&key, "v").await?;
        let seen = ctx.store.get_entry(&key).await?.expect("it was written");
        let answers = ctx
            .race(TASKS, |_, store| {
                let (key, seen) = (key.clone(), seen.clone());
                async move { store.compare_and_delete(&key, Expected::entry(&seen)).await }
            })
            .await;
        assert_eq!(count(answers)?, 1, "that many removed one entry");
    }
    Ok(())
}

/// One entry is moved to one place.
async fn rename_has_exactly_one_winner(ctx: &Ctx) -> TestResult {
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
        assert_eq!(count(answers)?, 1, "that many moved one entry");
        let found = ctx
            .store
            .get_many(&borrowed(&targets))
            .await
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(found.iter().flatten().count(), 1, "that many places have it");
        ctx.expect(&from, None, "the old place").await?;
    }
    Ok(())
}

/// An entry that somebody took while it was moved is not in the new place as well.
async fn rename_and_pop_have_exactly_one_winner(ctx: &Ctx) -> TestResult {
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
        assert_ne!(is_moved, answers[1], "one moved it or one took it");
        let moved: Option<&[u8]> = if is_moved { Some(b"v") } else { None };
        ctx.expect(&to, moved, "the new place").await?;
        ctx.expect(&from, None, "the old place").await?;
    }
    Ok(())
}

/// As many are added as are removed, but for the one that is there at the end.
async fn add_and_delete_take_turns(ctx: &Ctx) -> TestResult {
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
    assert_eq!(sum, i64::from(ctx.store.has(&key).await?), "added less removed is what is there");
    Ok(())
}

/// `replace`: "atomic set-if-present": what a concurrent `delete` has removed stays removed.
async fn replace_never_revives(ctx: &Ctx) -> TestResult {
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
        assert_eq!(count(answers)?, 1, "it was there to be deleted");
        ctx.expect(&key, None, "after delete").await?;
    }
    Ok(())
}

/// `touch`: "never revives (D1)", in a race with `delete` as well.
async fn touch_never_revives_what_is_deleted(ctx: &Ctx) -> TestResult {
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
        assert_eq!(count(answers)?, 1, "it was there to be deleted");
        ctx.expect(&key, None, "after delete").await?;
    }
    Ok(())
}
