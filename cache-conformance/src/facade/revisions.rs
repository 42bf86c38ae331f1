//! Revisions: an older value never replaces a newer one, whatever the order of arrival, from any
//! process.

use std::{
    convert::Infallible,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use cache_core::{Cache, LoadContext, secs};
use tokio::{sync::Notify, task::JoinHandle};

use super::leases::{calls_that_find_no_value, calls_that_remove_or_write, keys_of_calls};
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    older_revision_replaces_nothing,
    equal_revision_replaces_only_the_same_value,
    write_without_a_revision_wins,
    deleted_key_takes_no_older_value_until_its_floor_ends(timed),
    floor_is_missing_to_every_other_call,
    revisions_in_any_order_end_with_the_newest,
    revisions_that_race_end_with_the_newest,
    readers_never_see_a_revision_go_back,
    late_load_does_not_store_over_a_newer_revision_or_a_floor,
];

/// Caches of several processes with revisions.
fn processes<const N: usize>(ctx: &Ctx) -> [Cache; N] {
    ctx.processes_with(|it| it.revisions(true))
}

async fn older_revision_replaces_nothing(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    returned!(one.set_revision("k", "new", 5, LONG_TIME).await?, true, "a new key");
    for cache in [&one, &two] {
        returned!(cache.set_revision("k", "old", 4, LONG_TIME).await?, false, "an older value");
        returned!(cache.delete_revision("k", 4, LONG_TIME).await?, false, "an older delete");
        returned!(cache.set_revision("k", "", 4, secs(0)).await?, false, "a lifetime of zero");
        let found = cache.get::<String>("k").await?;
        assert_eq!(found.as_deref(), Some("new"));
    }
    returned!(two.set_revision("k", "newer", 6, LONG_TIME).await?, true, "a newer value");
    assert_eq!(one.get::<String>("k").await?.as_deref(), Some("newer"));
    returned!(one.set_revision("k", "max", u64::MAX, LONG_TIME).await?, true, "the largest");
    returned!(two.set_revision("k", "zero", 0, LONG_TIME).await?, false, "the smallest");
    Ok(())
}

async fn equal_revision_replaces_only_the_same_value(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    returned!(one.set_revision("k", "a", 5, secs(60)).await?, true, "a new key");
    let start = ctx.now();
    returned!(two.set_revision("k", "a", 5, LONG_TIME).await?, true, "the same value");
    ctx.assert_ttl(one.ttl("k").await?, LONG_TIME, start, "after the same value");
    returned!(two.set_revision("k", "b", 5, LONG_TIME).await?, false, "another value");
    assert_eq!(one.get::<String>("k").await?.as_deref(), Some("a"));
    Ok(())
}

async fn write_without_a_revision_wins(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    one.set_revision("k", "a", 5, LONG_TIME).await?;
    two.set("k", "b", LONG_TIME).await?;
    assert_eq!(one.get::<String>("k").await?.as_deref(), Some("b"), "after a set");
    returned!(one.set_revision("k", "c", 4, LONG_TIME).await?, true, "no revision is stored");
    returned!(two.delete("k").await?, true, "delete of a value with a revision");
    returned!(one.set_revision("k", "d", 3, LONG_TIME).await?, true, "after a delete");
    Ok(())
}

async fn deleted_key_takes_no_older_value_until_its_floor_ends(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    one.set_revision("k", "a", 5, LONG_TIME).await?;
    returned!(one.delete_revision("k", 5, LONG_TIME).await?, true, "delete_revision");
    for revision in [0, 4, 5] {
        returned!(two.set_revision("k", "late", revision, LONG_TIME).await?, false, "{revision}");
    }
    returned!(two.delete_revision("k", 5, secs(1)).await?, true, "the same delete again");
    returned!(two.set_revision("k", "new", 6, LONG_TIME).await?, true, "a newer value");
    returned!(one.delete_revision("k", 6, ctx.short_time()).await?, true, "a short floor");
    ctx.outlive_short().await;
    returned!(two.set_revision("k", "late", 5, LONG_TIME).await?, true, "after the floor");
    Ok(())
}

/// As a lease of a load, calls without a revision take a floor for an absent key.
async fn floor_is_missing_to_every_other_call(ctx: &Ctx) -> TestResult {
    let [one, two] = processes(ctx);
    for key in keys_of_calls() {
        returned!(one.delete_revision(key, 5, LONG_TIME).await?, true, "delete_revision of {key}");
        let stored = ctx.get(&ctx.key(key)).await?;
        assert!(stored.is_some_and(|it| it.starts_with(b"\xc1\xca")), "{key} holds no floor");
    }
    for key in calls_that_find_no_value(&two).await? {
        returned!(one.set_revision(key, "late", 5, LONG_TIME).await?, false, "{key}: the floor");
    }
    for key in calls_that_remove_or_write(&two).await? {
        returned!(one.set_revision(key, "late", 5, LONG_TIME).await?, true, "{key}: no floor");
    }
    Ok(())
}

/// One of several changes of a key, in a fixed place among them.
#[derive(Clone, Copy)]
struct Change(u64);

impl Change {
    /// Every third one is a delete.
    fn value(self) -> Option<u64> {
        (!self.0.is_multiple_of(3)).then_some(self.0)
    }

    async fn make(self, cache: &Cache, key: &str) -> cache_core::Result<bool> {
        match self.value() {
            Some(value) => cache.set_revision(key, &value, self.0, LONG_TIME).await,
            None => cache.delete_revision(key, self.0, LONG_TIME).await,
        }
    }
}

async fn revisions_in_any_order_end_with_the_newest(ctx: &Ctx) -> TestResult {
    let processes: [Cache; 3] = processes(ctx);
    for newest in 4..12 {
        let (random, key) = (RandomState::new(), format!("k{newest}"));
        let mut order: Vec<u64> = (1..=newest).collect();
        order.sort_by_key(|it| random.hash_one(it));
        let mut highest = 0;
        for (n, revision) in order.iter().enumerate() {
            let applied = Change(*revision).make(&processes[n % 3], &key).await?;
            assert_eq!(applied, *revision > highest, "{revision} in {order:?}");
            highest = highest.max(*revision);
            let found = processes[(n + 1) % 3].get(&key).await?;
            assert_eq!(found, Change(highest).value(), "after {revision} in {order:?}");
        }
    }
    Ok(())
}

/// Eight callers in four processes make changes of one key at the same moment.
async fn revisions_that_race_end_with_the_newest(ctx: &Ctx) -> TestResult {
    let processes: [Cache; 4] = processes(ctx);
    for round in 0..30_u64 {
        let (first, key) = (round * 8 + 1, format!("k{}", round % 2));
        let answers = ctx
            .race(8, |n, _| {
                let (cache, key) = (processes[n % processes.len()].clone(), key.clone());
                // In each round another caller has the newest revision.
                let revision = first + (n as u64 + round) % 8;
                async move {
                    let applied = Change(revision).make(&cache, &key).await;
                    applied.map(|it| (revision, it))
                }
            })
            .await;
        let newest = first + 7;
        for answer in answers {
            let (revision, applied) = answer?;
            assert!(applied || revision != newest, "round {round}: the newest was refused");
        }
        for cache in &processes {
            assert_eq!(cache.get(&key).await?, Change(newest).value(), "round {round}");
        }
        returned!(Change(newest - 1).make(&processes[0], &key).await?, false, "round {round}");
    }
    Ok(())
}

/// While callers write revisions in any order, no reader sees an older value after a newer one.
async fn readers_never_see_a_revision_go_back(ctx: &Ctx) -> TestResult {
    let processes: [Cache; 4] = processes(ctx);
    let answers = ctx
        .race(6, |n, _| {
            let (cache, random) = (processes[n % processes.len()].clone(), RandomState::new());
            async move {
                let mut last = 0;
                for round in 0..60_u64 {
                    if n < 3 {
                        let revision = round * 4 + 1 + random.hash_one(round) % 16;
                        cache.set_revision("k", &revision, revision, LONG_TIME).await?;
                    } else {
                        let found = cache.get::<u64>("k").await?.unwrap_or(last);
                        assert!(found >= last, "{found} after {last}");
                        last = found;
                    }
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<cache_core::Result<()>>()?;
    Ok(())
}

/// A load in one process has read the old row when another process writes or deletes it.
async fn late_load_does_not_store_over_a_newer_revision_or_a_floor(ctx: &Ctx) -> TestResult {
    for fenced in [None, Some(true)] {
        let [one, two] = ctx.processes_with(|it| {
            let mut settings = cache_core::FetchSettings::default();
            settings.fenced = fenced;
            it.revisions(true).fetch(settings)
        });
        for (revision, deletes) in [(Some(5), false), (Some(5), true), (None, true)] {
            let (go_on, caller) = paused(&one, revision).await;
            let left = if deletes {
                returned!(two.delete_revision("k", 6, LONG_TIME).await?, true, "delete_revision");
                None
            } else {
                returned!(two.set_revision("k", "new", 6, LONG_TIME).await?, true, "set_revision");
                Some("new")
            };
            go_on.notify_one();
            let value = caller.await.expect("the task ended without a panic")?;
            assert_eq!(value, "late", "for the caller of the load");
            for cache in [&one, &two] {
                let found = cache.get::<String>("k").await?;
                assert_eq!(found.as_deref(), left, "{fenced:?}, {revision:?}, {deletes}");
            }
            two.delete("k").await?;
        }
    }
    Ok(())
}

/// Begins a load of `k`, whose value is `late`. Returns when its loader runs.
async fn paused(
    cache: &Cache,
    revision: Option<u64>,
) -> (Arc<Notify>, JoinHandle<cache_core::Result<String>>) {
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let caller = tokio::spawn({
        let (cache, began, go_on) = (cache.clone(), Arc::clone(&began), Arc::clone(&go_on));
        let load = move |context: LoadContext| async move {
            began.notify_one();
            go_on.notified().await;
            if let Some(revision) = revision {
                context.revision(revision);
            }
            Ok::<_, Infallible>("late".to_owned())
        };
        async move { cache.fetch("k").ttl(LONG_TIME).load(load).await }
    });
    began.notified().await;
    (go_on, caller)
}
