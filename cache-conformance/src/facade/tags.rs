//! Tags: values that are invalidated together, in every process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{Cache, CacheBuilder, ErrorKind, FetchOutcome, FetchSettings, Loaded, Timeout};

use super::{
    fenced_load::{By, CALLS, Paused, call, fenced},
    fetch::until_idle,
};
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    invalidated_value_is_missing_to_every_operation,
    invalidation_reaches_every_value_and_process,
    writes_and_loads_carry_the_tags_of_their_handle,
    late_load_is_not_served_after_an_invalidation_of_another_process,
    expired_value_is_served_only_when_the_loader_fails,
    counters_have_no_tags,
    cleared_tags_can_be_used_again,
    processes_that_load_and_invalidate_return_no_invalidated_value,
];

/// Caches of several processes that read the version of a tag with each call.
fn processes<const N: usize>(
    ctx: &Ctx,
    configure: impl Fn(CacheBuilder) -> CacheBuilder,
) -> [Cache; N] {
    ctx.processes_with(|it| configure(it.tags(true).tag_staleness(Duration::ZERO)))
}

/// All reads and all conditional writes take a value with an invalid tag for absent.
async fn invalidated_value_is_missing_to_every_operation(ctx: &Ctx) -> TestResult {
    let [here, there] = processes(ctx, |it| it);
    let start = ctx.now();
    let tagged = here.with_tags(["t", "u"]);
    for key in ["k", "j", "n"] {
        tagged.set(key, &1, LONG_TIME).await?;
    }
    ctx.assert_ttl(there.ttl("k").await?, LONG_TIME, start, "ttl of a value with tags");
    returned!(there.has_key("k").await?, true, "has_key of a value with tags");
    returned!(there.touch("k", LONG_TIME).await?, true, "touch of a value with tags");
    assert_eq!(there.get::<u32>("k").await?, Some(1), "after touch");
    here.invalidate_tags(["u"]).await?;
    for cache in [&here, &there] {
        assert_eq!(cache.get::<u32>("k").await?, None, "get");
        assert!(cache.get_many::<u32, _>(["k", "j"]).await?.is_empty(), "get_many");
        returned!(cache.has_key("k").await?, false, "has_key");
        assert_eq!(cache.ttl("k").await?, None, "ttl");
        returned!(cache.touch("k", LONG_TIME).await?, false, "touch");
        assert_eq!(cache.pop::<u32>("k").await?, None, "pop");
        returned!(cache.replace("k", &2, LONG_TIME).await?, false, "replace");
        assert_eq!(cache.update("k", LONG_TIME, |it: u32| it + 1).await?, None, "update");
        let missing = cache.incr("k", 1).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::KeyNotFound, "incr");
        let missing = cache.incr_version("k", 1).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::KeyNotFound, "incr_version");
    }
    returned!(there.add("k", &3, LONG_TIME).await?, true, "add");
    returned!(here.add("k", &4, LONG_TIME).await?, false, "a second add");
    assert_eq!(here.get::<u32>("k").await?, Some(3), "the value of add");
    assert_eq!(there.incr_or("n", 1, 10, LONG_TIME).await?, 11, "incr_or");
    let created = here.upsert("j", LONG_TIME, |old: Option<u32>| old.or(Some(5))).await?;
    assert_eq!(created, Some(5), "upsert");
    Ok(())
}

/// One invalidation makes all values with the tag missing, and no others.
async fn invalidation_reaches_every_value_and_process(ctx: &Ctx) -> TestResult {
    let [here, there] = processes(ctx, |it| it);
    let items = |name: &str, count: usize| -> Vec<(String, usize)> {
        (0..count).map(|it| (format!("{name}:{it}"), it)).collect()
    };
    let (tagged, other) = (here.with_tags(["t"]), there.with_tags(["other"]));
    tagged.set_many(items("a", 300), LONG_TIME).await?.into_result()?;
    other.set_many(items("b", 5), Timeout::Never).await?.into_result()?;
    here.set_many(items("c", 5), LONG_TIME).await?.into_result()?;
    let keys: Vec<String> = [items("a", 300), items("b", 5), items("c", 5)]
        .concat()
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(there.get_many::<usize, _>(&keys).await?.len(), 310, "before");
    here.invalidate_tags(["t", "nothing has this tag"]).await?;
    for cache in [&there, &here] {
        let found = cache.get_many::<usize, _>(&keys).await?;
        assert_eq!(found.len(), 10, "after");
        assert!(!found.keys().any(|it| it.starts_with('a')), "values of the tag");
    }
    tagged.set("a:1", &7, LONG_TIME).await?;
    assert_eq!(there.get("a:1").await?, Some(7), "a new value with the tag");
    Ok(())
}

/// `set`, `add`, `replace`, `upsert`, batches, loads and primed values carry the tags.
async fn writes_and_loads_carry_the_tags_of_their_handle(ctx: &Ctx) -> TestResult {
    let [here, there] = processes(ctx, |it| it);
    let tagged = here.with_tags(["t"]);
    let check = async |what: &str| {
        assert_eq!(there.get::<String>("k").await?.as_deref(), Some("v"), "{what}");
        there.invalidate_tags(["t"]).await?;
        assert_eq!(here.get::<String>("k").await?, None, "{what}, invalidated");
        Ok::<_, cache_core::Error>(())
    };
    tagged.set("k", "v", LONG_TIME).await?;
    check("set").await?;
    tagged.add("k", "v", LONG_TIME).await?;
    check("add").await?;
    here.set("k", "old", LONG_TIME).await?;
    tagged.replace("k", "v", LONG_TIME).await?;
    check("replace").await?;
    tagged.upsert("k", LONG_TIME, |_: Option<String>| Some("v".into())).await?;
    check("upsert").await?;
    tagged.set_many([("k", "v")], LONG_TIME).await?.into_result()?;
    check("set_many").await?;
    tagged.fetch("k").prime("v").await?;
    check("prime").await?;
    for by in CALLS {
        call(by, &tagged, || async { "v".to_owned() }).await?;
        check(&format!("{by:?}")).await?;
    }
    tagged.set("k", "old", LONG_TIME).await?;
    here.update("k", LONG_TIME, |_: String| "v".to_owned()).await?;
    check("update of a value with tags").await?;
    Ok(())
}

/// A load that read its value before an invalidation by another process does not bring it back,
/// with and without fences.
async fn late_load_is_not_served_after_an_invalidation_of_another_process(ctx: &Ctx) -> TestResult {
    for fences in [FetchSettings::default(), fenced()] {
        let [here, there] = processes(ctx, |it| it.fetch(fences));
        for by in CALLS {
            let load = Paused::begin(by, &here.with_tags(["t"])).await;
            there.invalidate_tags(["t"]).await?;
            assert_eq!(load.end().await?, "late", "{by:?}: its caller gets the value");
            until_idle(&here).await;
            for cache in [&there, &here] {
                let found = cache.get::<String>("k").await?;
                assert_eq!(found, None, "{by:?}: the value of a load from before");
            }
            let tagged = there.with_tags(["t"]);
            let again = call(By::GetOrSet, &tagged, || async { "new".into() }).await?;
            assert_eq!(again, "new", "{by:?}");
            assert_eq!(here.get::<String>("k").await?.as_deref(), Some("new"), "{by:?}");
            here.delete("k").await?;
        }
    }
    Ok(())
}

/// After `expire_tags`, a value is served by fetches whose loader fails, and by nothing else.
async fn expired_value_is_served_only_when_the_loader_fails(ctx: &Ctx) -> TestResult {
    let settings = FetchSettings::with_grace(LONG_TIME);
    let [here, there] = processes(ctx, |it| it.fetch(settings));
    here.fetch("k").tags(["t"]).ttl(LONG_TIME).prime("old").await?;
    here.expire_tags(["t"]).await?;
    for cache in [&here, &there] {
        assert_eq!(cache.get::<String>("k").await?, None, "get");
        returned!(cache.has_key("k").await?, false, "has_key");
        let fails = |_| async { Err::<Loaded<String>, _>(io::Error::other("down")) };
        let fetched = cache.fetch("k").outcome(fails).await?;
        assert_eq!(fetched.value.as_deref(), Some("old"), "fetch");
        assert!(matches!(fetched.outcome, FetchOutcome::Stale { .. }), "{fetched:?}");
        until_idle(cache).await;
    }
    there.invalidate_tags(["t"]).await?;
    let fails = |_| async { Err::<String, _>(io::Error::other("down")) };
    assert!(here.fetch("k").load(fails).await.is_err(), "after invalidate_tags");
    Ok(())
}

/// A handle with tags does not count, and an integer with tags is not a counter.
async fn counters_have_no_tags(ctx: &Ctx) -> TestResult {
    let [here] = processes(ctx, |it| it);
    let tagged = here.with_tags(["t"]);
    here.set("n", &1, LONG_TIME).await?;
    for refused in [tagged.incr("n", 1).await, tagged.incr_or("m", 1, 0, LONG_TIME).await] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(here.get::<i64>("n").await?, Some(1), "the counter");
    tagged.set("n", &7, LONG_TIME).await?;
    let refused = here.incr("n", 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotAnInteger, "an integer with tags");
    assert_eq!(here.get::<i64>("n").await?, Some(7), "as it was");
    Ok(())
}

/// `clear` removes what the library stored for tags, and tags work afterwards.
async fn cleared_tags_can_be_used_again(ctx: &Ctx) -> TestResult {
    let [here, there] = processes(ctx, |it| it);
    let tagged = here.with_tags(["t"]);
    tagged.set("k", &1, LONG_TIME).await?;
    there.clear().await?;
    assert_eq!(here.get::<u32>("k").await?, None, "after clear");
    tagged.set("k", &2, LONG_TIME).await?;
    assert_eq!(there.get::<u32>("k").await?, Some(2));
    there.invalidate_tags(["t"]).await?;
    assert_eq!(here.get::<u32>("k").await?, None);
    Ok(())
}

/// While a source changes and each change is followed by an invalidation, no process gets a value
/// from before an invalidation that had ended.
async fn processes_that_load_and_invalidate_return_no_invalidated_value(ctx: &Ctx) -> TestResult {
    const CHANGES: u64 = 40;
    let caches: [Cache; 3] = processes(ctx, |it| it);
    let source = Arc::new(AtomicU64::new(0));
    // The source at the end of the last invalidation.
    let known = Arc::new(AtomicU64::new(0));
    let changes = {
        let (cache, source, known) = (caches[0].clone(), source.clone(), known.clone());
        async move {
            for _ in 0..CHANGES {
                let value = source.fetch_add(1, SeqCst) + 1;
                cache.invalidate_tags(["t"]).await?;
                known.store(value, SeqCst);
            }
            Ok(())
        }
    };
    let mut tasks = vec![tokio::spawn(changes)];
    for (place, cache) in caches.iter().enumerate() {
        let (cache, source, known) = (cache.with_tags(["t"]), source.clone(), known.clone());
        tasks.push(tokio::spawn(async move {
            while known.load(SeqCst) < CHANGES {
                let least = known.load(SeqCst);
                let source = source.clone();
                let load = move || async move {
                    let value = source.load(SeqCst);
                    tokio::task::yield_now().await;
                    value.to_string()
                };
                let found = call(CALLS[place], &cache, load).await?;
                let found: u64 = found.parse().expect("a number");
                assert!(found >= least, "{found} from before the invalidation at {least}");
            }
            Ok::<_, cache_core::Error>(())
        }));
    }
    for task in tasks {
        task.await.expect("no task panics")?;
    }
    Ok(())
}
