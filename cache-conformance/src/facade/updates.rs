use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::Ctx,
    facade::values::Unserialisable,
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![
    update_changes_the_stored_value,
    update_of_a_missing_key_stores_nothing,
    update_sets_the_lifetime,
    concurrent_updates_lose_no_change,
    update_retries_on_a_conflict,
    update_that_does_not_serialise_keeps_the_old_value,
    upsert_creates_and_changes,
    upsert_that_returns_none_changes_nothing,
    upsert_sets_the_lifetime,
    upsert_with_a_zero_timeout_removes_the_entry,
    concurrent_upserts_create_once_and_lose_no_change,
    upsert_retries_if_the_key_appears_or_disappears,
    upsert_replaces_a_value_that_does_not_decode,
];

/// `update` changes the stored value and returns the new one.
async fn update_changes_the_stored_value(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &vec![1], Timeout::Default).await?;
    let push = |mut list: Vec<i32>| {
        list.push(2);
        list
    };
    assert_eq!(cache.update("k", Timeout::Default, push).await?, Some(vec![1, 2]));
    assert_eq!(cache.get("k").await?, Some(vec![1, 2]));
    assert_eq!(
        cache.update("k", Timeout::Default, |it: Vec<i32>| it).await?,
        Some(vec![1, 2]),
        "update to the same value"
    );
    Ok(())
}

/// `update` of a missing key returns `None` and stores nothing.
async fn update_of_a_missing_key_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let res = cache
        .update("k", Timeout::Default, |_: i32| panic!("the function ran for a missing key"))
        .await?;
    assert_eq!(res, None);
    assert!(!cache.has_key("k").await?);
    Ok(())
}

/// `update` sets the lifetime.
async fn update_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &1, secs(60)).await?;
    cache.update("k", Timeout::Never, |it: i32| it).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    let start = ctx.now();
    cache.update("k", secs(600), |it: i32| it).await?;
    ctx.assert_ttl(cache.ttl("k").await?, std::time::Duration::from_secs(600), start, "ttl");
    Ok(())
}

/// 8 callers with 25 changes each lose none. Callers of one process wait for each other; callers of
/// several compare and set in the store.
async fn concurrent_updates_lose_no_change(ctx: &Ctx) -> TestResult {
    let (cache, processes) = (ctx.cache(), ctx.processes::<4>());
    cache.set("k", &Vec::<usize>::new(), Timeout::Default).await?;
    let answers = ctx
        .race(8, |n, _| {
            let cache = processes[n % processes.len()].clone();
            async move {
                for _ in 0..25 {
                    let push = |mut list: Vec<usize>| {
                        list.push(n);
                        list
                    };
                    assert!(cache.update("k", Timeout::Default, push).await?.is_some());
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<cache_core::Result<()>>()?;
    let list = cache.get::<Vec<usize>>("k").await?.unwrap_or_default();
    for n in 0..8 {
        assert_eq!(
            list.iter().filter(|&&it| it == n).count(),
            25,
            "changes of caller {n} in the stored list"
        );
    }
    Ok(())
}

/// If another caller writes between the read and the write, `update` reads again.
async fn update_retries_on_a_conflict(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &1, Timeout::Default).await?;
    let mut seen = Vec::new();
    let (handle, other) = (tokio::runtime::Handle::current(), cache.clone());
    let res = cache
        .update("k", Timeout::Default, |it: i32| {
            if seen.is_empty() {
                // Another caller writes first, once.
                tokio::task::block_in_place(|| {
                    handle.block_on(other.set("k", &10, Timeout::Default))
                })
                .expect("the other caller's set succeeds");
            }
            seen.push(it);
            it + 1
        })
        .await?;
    assert_eq!((res, seen), (Some(11), vec![1, 10]));
    assert_eq!(cache.get::<i32>("k").await?, Some(11));
    Ok(())
}

/// A result that does not serialise is a `Codec` error, never fails open, and leaves the old value.
async fn update_that_does_not_serialise_keeps_the_old_value(ctx: &Ctx) -> TestResult {
    #[derive(serde::Deserialize)]
    struct ReadOnly(i32);
    impl serde::Serialize for ReadOnly {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(&Unserialisable, to)
        }
    }
    let cache = ctx.cache();
    cache.set("k", &1, Timeout::Default).await?;
    let res = cache.update("k", Timeout::Default, |it: ReadOnly| ReadOnly(it.0 + 1)).await;
    assert_eq!(
        res.map(|_| ()).expect_err("a value that does not serialise").kind(),
        ErrorKind::Codec
    );
    assert_eq!(cache.get::<i32>("k").await?, Some(1));
    Ok(())
}

/// `upsert` passes the value, or `None` for a missing key, and returns what it stored.
async fn upsert_creates_and_changes(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let mut given = Vec::new();
    for n in 1..=3 {
        let change = |old: Option<i32>| {
            given.push(old);
            Some(old.unwrap_or_default() + 10)
        };
        assert_eq!(cache.upsert("k", Timeout::Default, change).await?, Some(n * 10));
        assert_eq!(cache.get::<i32>("k").await?, Some(n * 10));
    }
    assert_eq!(given, [None, Some(10), Some(20)]);
    // A stored null is there, and no missing key.
    cache.set("null", &None::<i32>, Timeout::Default).await?;
    let res = cache
        .upsert("null", Timeout::Default, |old| old.map(|it: Option<i32>| it.or(Some(1))))
        .await?;
    assert_eq!(res, Some(Some(1)));
    Ok(())
}

/// If the function returns `None`, value and lifetime stay as they are.
async fn upsert_that_returns_none_changes_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let return_none = |_: Option<i32>| None;
    assert_eq!(cache.upsert("k", Timeout::Default, return_none).await?, None);
    assert!(!cache.has_key("k").await?);
    cache.set("k", &7, Timeout::Never).await?;
    for timeout in [secs(60), secs(0)] {
        assert_eq!(cache.upsert("k", timeout, return_none).await?, None);
        assert_eq!(cache.get::<i32>("k").await?, Some(7));
        assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    }
    Ok(())
}

/// `upsert` sets the lifetime of what it creates and of what it changes.
async fn upsert_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for seconds in [60, 600] {
        let start = ctx.now();
        cache.upsert("k", secs(seconds), |old: Option<i32>| old.or(Some(1))).await?;
        let asked = std::time::Duration::from_secs(seconds);
        ctx.assert_ttl(cache.ttl("k").await?, asked, start, "ttl");
    }
    Ok(())
}

/// With a timeout of zero, `upsert` returns the new value and removes the entry.
async fn upsert_with_a_zero_timeout_removes_the_entry(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let change = |old: Option<i32>| Some(old.unwrap_or_default() + 1);
    assert_eq!(cache.upsert("k", secs(0), change).await?, Some(1));
    assert!(!cache.has_key("k").await?);
    cache.set("k", &1, Timeout::Default).await?;
    assert_eq!(cache.upsert("k", secs(0), change).await?, Some(2));
    assert!(!cache.has_key("k").await?);
    Ok(())
}

/// One of 8 callers in 4 processes creates the key, and no change is lost.
async fn concurrent_upserts_create_once_and_lose_no_change(ctx: &Ctx) -> TestResult {
    let (cache, processes) = (ctx.cache(), ctx.processes::<4>());
    for round in 0..20 {
        let key = format!("k{round}");
        let answers = ctx
            .race(8, |n, _| {
                let (cache, key) = (processes[n % processes.len()].clone(), key.clone());
                async move {
                    let mut made = false;
                    let change = |old: Option<Vec<usize>>| {
                        made = old.is_none();
                        let mut list = old.unwrap_or_default();
                        list.push(n);
                        Some(list)
                    };
                    let stored = cache.upsert(&key, Timeout::Default, change).await?;
                    assert_eq!(stored.and_then(|it| it.last().copied()), Some(n));
                    Ok(made)
                }
            })
            .await;
        let made = answers.into_iter().collect::<cache_core::Result<Vec<bool>>>()?;
        assert_eq!(made.into_iter().filter(|it| *it).count(), 1, "callers that created {key}");
        let mut list = cache.get::<Vec<usize>>(&key).await?.unwrap_or_default();
        list.sort_unstable();
        assert_eq!(list, (0..8).collect::<Vec<_>>(), "changes in {key}");
    }
    Ok(())
}

/// If another caller creates or removes the key between the read and the write, `upsert` reads
/// again.
async fn upsert_retries_if_the_key_appears_or_disappears(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for appears in [true, false] {
        let mut given = Vec::new();
        let (handle, other) = (tokio::runtime::Handle::current(), cache.clone());
        let change = |old: Option<i32>| {
            if given.is_empty() {
                let meanwhile = async {
                    if appears {
                        other.set("k", &10, Timeout::Default).await
                    } else {
                        other.delete("k").await.map(drop)
                    }
                };
                tokio::task::block_in_place(|| handle.block_on(meanwhile))
                    .expect("the other caller succeeds");
            }
            given.push(old);
            Some(old.unwrap_or_default() + 1)
        };
        let res = cache.upsert("k", Timeout::Default, change).await?;
        let (expected, stored) =
            if appears { ([None, Some(10)], 11) } else { ([Some(11), None], 1) };
        assert_eq!(
            (given, res),
            (expected.to_vec(), Some(stored)),
            "the values passed, and the result (the key appears: {appears})"
        );
        assert_eq!(cache.get::<i32>("k").await?, Some(stored));
    }
    Ok(())
}

/// A value of another type, or a damaged one, counts as missing, so it cannot make every `upsert`
/// fail.
async fn upsert_replaces_a_value_that_does_not_decode(ctx: &Ctx) -> TestResult {
    const DAMAGED: &[u8] = &[0xc1, 0xca, 1, 1, 9, 9, 9];
    let cache = ctx.cache();
    let make = |old: Option<i32>| {
        assert_eq!(old, None);
        Some(1)
    };
    for bytes in [&b"\"text\""[..], DAMAGED] {
        ctx.put(&ctx.key("k"), bytes).await?;
        let error = cache.strict().upsert("k", Timeout::Default, make).await;
        // In strict mode the error is returned, and damaged bytes are removed.
        assert_eq!(error.expect_err("upsert in strict mode").kind(), ErrorKind::Codec);
        ctx.put(&ctx.key("k"), bytes).await?;
        assert_eq!(cache.upsert("k", Timeout::Default, make).await?, Some(1));
        assert_eq!(cache.get::<i32>("k").await?, Some(1));
    }
    Ok(())
}
