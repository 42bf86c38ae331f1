//! Every call treats the lease of a load as an absent key, and replaces it where it writes. The
//! calls are also those that a floor is tested with.

use std::{collections::HashMap, sync::Arc};

use cache_core::{Cache, ErrorKind, secs};
use tokio::sync::Notify;

use super::fenced_load::processes;
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] =
    tests![key_that_another_process_loads_is_missing_to_every_other_call];

const READ: [&str; 11] = [
    "get",
    "get_bytes",
    "get_many",
    "has_key",
    "incr",
    "move",
    "pop",
    "replace",
    "touch",
    "ttl",
    "update",
];
const WRITTEN: [&str; 5] = ["add", "incr_or", "set", "set_many", "upsert"];
const REMOVED: [&str; 3] = ["delete", "delete_many", "zero"];

/// One process loads keys, and another one makes every call on them: calls that find no value
/// change nothing, writes replace the lease, and deletes remove it.
async fn key_that_another_process_loads_is_missing_to_every_other_call(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    let keys = keys_of_calls();
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let loader = tokio::spawn({
        let (one, keys, began, go_on) = (one.clone(), keys.clone(), began.clone(), go_on.clone());
        async move {
            let load = |missing: Vec<&'static str>| {
                let (began, go_on) = (&began, &go_on);
                async move {
                    began.notify_one();
                    go_on.notified().await;
                    missing.into_iter().map(|it| (it, 100))
                }
            };
            one.get_or_set_many(keys, LONG_TIME, load).await
        }
    });
    began.notified().await;
    for key in &keys {
        let stored = ctx.get(&ctx.key(key)).await?;
        assert!(stored.is_some_and(|it| it.starts_with(b"\xc1\xca")), "{key} holds no lease");
    }
    calls_that_find_no_value(&two).await?;
    calls_that_remove_or_write(&two).await?;
    go_on.notify_one();
    let loaded = loader.await.expect("the task ended without a panic")?;
    assert_eq!(loaded.len(), keys.len(), "values for the caller of the load");
    let found = two.get_many::<i32, _>(keys).await?;
    let mut expected: HashMap<_, _> = READ.iter().map(|it| (*it, 100)).collect();
    expected.extend(WRITTEN.iter().map(|it| (*it, 1)));
    assert_eq!(found, expected, "values after the load");
    Ok(())
}

/// The keys of the calls below.
pub(super) fn keys_of_calls() -> Vec<&'static str> {
    [&READ[..], &WRITTEN, &REMOVED].concat()
}

/// Makes calls that change nothing. Returns their keys.
pub(super) async fn calls_that_find_no_value(
    cache: &Cache,
) -> cache_core::Result<Vec<&'static str>> {
    assert_eq!(cache.get::<i32>("get").await?, None, "get");
    assert_eq!(cache.strict().get::<i32>("get").await?, None, "get in strict mode");
    assert_eq!(cache.bytes().get("get_bytes").await?, None, "get of bytes");
    assert_eq!(cache.get_many::<i32, _>(["get_many"]).await?, [].into(), "get_many");
    returned!(cache.has_key("has_key").await?, false, "has_key");
    assert_eq!(cache.ttl("ttl").await?, None, "ttl");
    returned!(cache.touch("touch", LONG_TIME).await?, false, "touch");
    returned!(cache.replace("replace", &1, LONG_TIME).await?, false, "replace");
    returned!(cache.replace("replace", &1, secs(0)).await?, false, "replace without a lifetime");
    assert_eq!(cache.pop::<i32>("pop").await?, None, "pop");
    assert_eq!(cache.update("update", LONG_TIME, |n: i32| n + 1).await?, None, "update");
    let error = cache.incr("incr", 1).await.expect_err("a missing key");
    assert_eq!(error.kind(), ErrorKind::KeyNotFound, "incr: {error}");
    let error = cache.incr_version("move", 1).await.expect_err("a missing key");
    assert_eq!(error.kind(), ErrorKind::KeyNotFound, "incr_version: {error}");
    returned!(cache.add("get", &1, secs(0)).await?, true, "add without a lifetime");
    Ok(READ.into())
}

/// Makes calls that write, and calls that remove. Returns the keys of the latter.
pub(super) async fn calls_that_remove_or_write(
    cache: &Cache,
) -> cache_core::Result<Vec<&'static str>> {
    returned!(cache.add("add", &1, LONG_TIME).await?, true, "add");
    returned!(cache.add("add", &2, LONG_TIME).await?, false, "add of a value that was added");
    assert_eq!(cache.incr_or("incr_or", 1, 0, LONG_TIME).await?, 1, "incr_or");
    cache.set("set", &1, LONG_TIME).await?;
    assert!(cache.set_many([("set_many", 1)], LONG_TIME).await?.is_empty(), "set_many");
    let upserted = cache.upsert("upsert", LONG_TIME, |n: Option<i32>| Some(n.unwrap_or(1))).await?;
    assert_eq!(upserted, Some(1), "upsert");
    returned!(cache.delete("delete").await?, false, "delete");
    assert_eq!(cache.delete_many(["delete_many", "delete_many"]).await?, 0, "delete_many");
    cache.set("zero", &1, secs(0)).await?;
    Ok(REMOVED.into())
}
