use crate::{
    ErrorKind, Timeout, Ttl, secs,
    testing::conformance::{
        ctx::Ctx,
        facade::values::Unserialisable,
        runner::{Test, TestResult, tests},
    },
};

pub(super) const TESTS: &[Test] = tests![
    update_changes_what_is_there,
    update_of_a_missing_key_changes_nothing,
    update_sets_the_lifetime,
    update_loses_no_change,
    update_begins_again_on_a_conflict,
    an_update_that_does_not_serialise_leaves_the_old_value,
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

/// "again on conflict": 8 callers of 25 changes. Callers of one cache queue, those of several processes meet in the store.
async fn update_loses_no_change(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    cache.set("k", &Vec::<usize>::new(), None).await?;
    let processes = [(); 4].map(|()| ctx.cache());
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
    answers.into_iter().collect::<crate::Result<()>>()?;
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
