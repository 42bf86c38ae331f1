use cache_core::{ErrorKind, Timeout, Ttl, secs};

use crate::{
    ctx::Ctx,
    facade::values::Unserialisable,
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    update_changes_what_is_there,
    update_of_a_missing_key_changes_nothing,
    update_sets_the_lifetime,
    update_loses_no_change,
    update_begins_again_on_a_conflict,
    an_update_that_does_not_serialise_leaves_the_old_value,
    upsert_makes_and_changes,
    upsert_that_gives_up_stores_nothing,
    upsert_sets_the_lifetime,
    upsert_to_a_lifetime_of_zero_removes_and_makes_nothing,
    upsert_has_one_maker_and_loses_no_change,
    upsert_begins_again_if_the_key_appears_or_disappears,
    upsert_replaces_what_does_not_decode,
];

/// `update`: "read, change, compare-and-set".
async fn update_changes_what_is_there(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &vec![1], None).await?;
    let push = |mut list: Vec<i32>| {
        list.push(2);
        list
    };
    assert_eq!(cache.update("k", None, push).await?, Some(vec![1, 2]));
    assert_eq!(cache.get("k").await?, Some(vec![1, 2]));
    assert_eq!(
        cache.update("k", None, |it: Vec<i32>| it).await?,
        Some(vec![1, 2]),
        "no change is a change, too"
    );
    Ok(())
}

/// `update` answers `None` for a missing key, and makes nothing.
async fn update_of_a_missing_key_changes_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let res = cache.update("k", None, |_: i32| panic!("there is nothing to change")).await?;
    assert_eq!(res, None);
    assert!(!cache.has_key("k").await?);
    Ok(())
}

/// The lifetime is the one given.
async fn update_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &1, secs(60)).await?;
    cache.update("k", Timeout::Never, |it: i32| it).await?;
    assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    let start = ctx.now();
    cache.update("k", secs(600), |it: i32| it).await?;
    ctx.assert_remains(cache.ttl("k").await?, std::time::Duration::from_secs(600), start, "ttl");
    Ok(())
}

/// "again on conflict": 8 callers of 25 changes. Callers of one process queue; those of several meet in the store.
async fn update_loses_no_change(ctx: &Ctx) -> TestResult {
    let (cache, processes) = (ctx.cache(), ctx.processes::<4>());
    cache.set("k", &Vec::<usize>::new(), None).await?;
    let answers = ctx
        .race(8, |n, _| {
            let cache = processes[n % processes.len()].clone();
            async move {
                for _ in 0..25 {
                    let push = |mut list: Vec<usize>| {
                        list.push(n);
                        list
                    };
                    assert!(cache.update("k", None, push).await?.is_some());
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<cache_core::Result<()>>()?;
    let list = cache.get::<Vec<usize>>("k").await?.unwrap_or_default();
    for n in 0..8 {
        assert_eq!(list.iter().filter(|&&it| it == n).count(), 25, "changes of caller {n}");
    }
    Ok(())
}

/// What another wrote between the read and the write is seen by the second attempt.
async fn update_begins_again_on_a_conflict(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &1, None).await?;
    let mut seen = Vec::new();
    let (handle, other) = (tokio::runtime::Handle::current(), cache.clone());
    let res = cache
        .update("k", None, |it: i32| {
            if seen.is_empty() {
                // Another caller is faster, once.
                tokio::task::block_in_place(|| handle.block_on(other.set("k", &10, None)))
                    .expect("it is written");
            }
            seen.push(it);
            it + 1
        })
        .await?;
    assert_eq!((res, seen), (Some(11), vec![1, 10]));
    assert_eq!(cache.get::<i32>("k").await?, Some(11));
    Ok(())
}

/// "`Codec` when writing" is "always returned".
async fn an_update_that_does_not_serialise_leaves_the_old_value(ctx: &Ctx) -> TestResult {
    #[derive(serde::Deserialize)]
    struct ReadOnly(i32);
    impl serde::Serialize for ReadOnly {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(&Unserialisable, to)
        }
    }
    let cache = ctx.cache();
    cache.set("k", &1, None).await?;
    let res = cache.update("k", None, |it: ReadOnly| ReadOnly(it.0 + 1)).await;
    assert_eq!(res.map(|_| ()).expect_err("it cannot be written").kind(), ErrorKind::Codec);
    assert_eq!(cache.get::<i32>("k").await?, Some(1));
    Ok(())
}

/// The value or `None` is given; what was stored is the answer.
async fn upsert_makes_and_changes(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let mut given = Vec::new();
    for n in 1..=3 {
        let change = |old: Option<i32>| {
            given.push(old);
            Some(old.unwrap_or_default() + 10)
        };
        assert_eq!(cache.upsert("k", None, change).await?, Some(n * 10));
        assert_eq!(cache.get::<i32>("k").await?, Some(n * 10));
    }
    assert_eq!(given, [None, Some(10), Some(20)]);
    // A stored null is there, and no missing key.
    cache.set("null", &None::<i32>, None).await?;
    let res = cache.upsert("null", None, |old| old.map(|it: Option<i32>| it.or(Some(1)))).await?;
    assert_eq!(res, Some(Some(1)));
    Ok(())
}

/// `None` leaves key, value and lifetime as they are.
async fn upsert_that_gives_up_stores_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let give_up = |_: Option<i32>| None;
    assert_eq!(cache.upsert("k", None, give_up).await?, None);
    assert!(!cache.has_key("k").await?);
    cache.set("k", &7, Timeout::Never).await?;
    for timeout in [secs(60), secs(0)] {
        assert_eq!(cache.upsert("k", timeout, give_up).await?, None);
        assert_eq!(cache.get::<i32>("k").await?, Some(7));
        assert_eq!(cache.ttl("k").await?, Some(Ttl::Forever));
    }
    Ok(())
}

/// The lifetime is the one given, for what is made and for what is changed.
async fn upsert_sets_the_lifetime(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for seconds in [60, 600] {
        let start = ctx.now();
        cache.upsert("k", secs(seconds), |old: Option<i32>| old.or(Some(1))).await?;
        let asked = std::time::Duration::from_secs(seconds);
        ctx.assert_remains(cache.ttl("k").await?, asked, start, "ttl");
    }
    Ok(())
}

/// As `update` and `incr_or` (D13).
async fn upsert_to_a_lifetime_of_zero_removes_and_makes_nothing(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let change = |old: Option<i32>| Some(old.unwrap_or_default() + 1);
    assert_eq!(cache.upsert("k", secs(0), change).await?, Some(1));
    assert!(!cache.has_key("k").await?);
    cache.set("k", &1, None).await?;
    assert_eq!(cache.upsert("k", secs(0), change).await?, Some(2));
    assert!(!cache.has_key("k").await?);
    Ok(())
}

/// "exactly one stores what it made": 20 keys, 8 callers of 4 processes each.
async fn upsert_has_one_maker_and_loses_no_change(ctx: &Ctx) -> TestResult {
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
                    let stored = cache.upsert(&key, None, change).await?;
                    assert_eq!(stored.and_then(|it| it.last().copied()), Some(n));
                    Ok(made)
                }
            })
            .await;
        let made = answers.into_iter().collect::<cache_core::Result<Vec<bool>>>()?;
        assert_eq!(made.into_iter().filter(|it| *it).count(), 1, "makers of {key}");
        let mut list = cache.get::<Vec<usize>>(&key).await?.unwrap_or_default();
        list.sort_unstable();
        assert_eq!(list, (0..8).collect::<Vec<_>>(), "changes of {key}");
    }
    Ok(())
}

/// Another caller makes or removes the key between the read and the write.
async fn upsert_begins_again_if_the_key_appears_or_disappears(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    for appears in [true, false] {
        let mut given = Vec::new();
        let (handle, other) = (tokio::runtime::Handle::current(), cache.clone());
        let change = |old: Option<i32>| {
            if given.is_empty() {
                let meanwhile = async {
                    if appears {
                        other.set("k", &10, None).await
                    } else {
                        other.delete("k").await.map(drop)
                    }
                };
                tokio::task::block_in_place(|| handle.block_on(meanwhile)).expect("it is done");
            }
            given.push(old);
            Some(old.unwrap_or_default() + 1)
        };
        let res = cache.upsert("k", None, change).await?;
        let (expected, stored) =
            if appears { ([None, Some(10)], 11) } else { ([Some(11), None], 1) };
        assert_eq!((given, res), (expected.to_vec(), Some(stored)), "appears: {appears}");
        assert_eq!(cache.get::<i32>("k").await?, Some(stored));
    }
    Ok(())
}

/// "One bad entry never keeps failing": of another type, and damaged.
async fn upsert_replaces_what_does_not_decode(ctx: &Ctx) -> TestResult {
    const DAMAGED: &[u8] = &[0xc1, 0xca, 1, 1, 9, 9, 9];
    let cache = ctx.cache();
    let make = |old: Option<i32>| {
        assert_eq!(old, None);
        Some(1)
    };
    for bytes in [&b"\"text\""[..], DAMAGED] {
        ctx.put(&ctx.key("k"), bytes).await?;
        let error = cache.strict().upsert("k", None, make).await;
        // Strict mode tells; it removes what is damaged.
        assert_eq!(error.expect_err("strict mode tells").kind(), ErrorKind::Codec);
        ctx.put(&ctx.key("k"), bytes).await?;
        assert_eq!(cache.upsert("k", None, make).await?, Some(1));
        assert_eq!(cache.get::<i32>("k").await?, Some(1));
    }
    Ok(())
}
