//! Random operations of one task have the same results with and without a scope.

use std::{future::ready, time::Duration};

use cache_core::{Cache, RequestMemo, Ttl, secs};
use proptest::{collection::vec, prelude::*};

use crate::World;

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Has(u8),
    Ttl(u8),
    GetMany(Vec<u8>),
    Set(u8, i64, u64),
    SetMany(Vec<u8>, i64),
    Add(u8, i64, u64),
    Replace(u8, i64, u64),
    Delete(u8),
    DeleteMany(Vec<u8>),
    Pop(u8),
    Touch(u8, u64),
    Incr(u8),
    IncrOr(u8),
    Update(u8),
    GetOrSet(u8, i64),
    GetOrSetMany(Vec<u8>, i64),
    Fetch(u8, i64),
    IncrVersion(u8),
    Clear,
    Tag(u8, i64),
    Invalidate,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (key, keys) = (|| 0..4_u8, || vec(0..4_u8, 0..5));
    let life = || 0..4_u64;
    prop_oneof![
        6 => key().prop_map(Step::Get),
        1 => key().prop_map(Step::Has),
        1 => key().prop_map(Step::Ttl),
        2 => keys().prop_map(Step::GetMany),
        2 => (key(), any::<i64>(), life()).prop_map(|(key, n, life)| Step::Set(key, n, life)),
        1 => (keys(), any::<i64>()).prop_map(|(keys, n)| Step::SetMany(keys, n)),
        1 => (key(), any::<i64>(), life()).prop_map(|(key, n, life)| Step::Add(key, n, life)),
        1 => (key(), any::<i64>(), life()).prop_map(|(key, n, life)| Step::Replace(key, n, life)),
        1 => key().prop_map(Step::Delete),
        1 => keys().prop_map(Step::DeleteMany),
        1 => key().prop_map(Step::Pop),
        1 => (key(), life()).prop_map(|(key, life)| Step::Touch(key, life)),
        1 => key().prop_map(Step::Incr),
        1 => key().prop_map(Step::IncrOr),
        1 => key().prop_map(Step::Update),
        2 => (key(), any::<i64>()).prop_map(|(key, n)| Step::GetOrSet(key, n)),
        1 => (keys(), any::<i64>()).prop_map(|(keys, n)| Step::GetOrSetMany(keys, n)),
        2 => (key(), any::<i64>()).prop_map(|(key, n)| Step::Fetch(key, n)),
        1 => key().prop_map(Step::IncrVersion),
        1 => Just(Step::Clear),
        1 => (key(), any::<i64>()).prop_map(|(key, n)| Step::Tag(key, n)),
        1 => Just(Step::Invalidate),
        1 => (1..4_u64).prop_map(Step::Pass),
    ]
}

/// Makes a step, and returns its result as text.
async fn run(it: &World, has_tags: bool, step: &Step) -> String {
    let cache: &Cache = &it.here;
    let name = |key: &u8| format!("k{key}");
    let names = |keys: &[u8]| keys.iter().map(|it| format!("k{it}")).collect::<Vec<_>>();
    let sorted = |found: std::collections::HashMap<String, i64>| {
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable();
        found
    };
    match step {
        Step::Get(key) => format!("{:?}", cache.get::<i64>(&name(key)).await),
        Step::Has(key) => format!("{:?}", cache.has_key(&name(key)).await),
        Step::Ttl(key) => {
            let ttl: Option<Ttl> = cache.ttl(&name(key)).await.unwrap();
            format!("{ttl:?}")
        }
        Step::GetMany(keys) => {
            format!("{:?}", sorted(cache.get_many(names(keys)).await.unwrap()))
        }
        Step::Set(key, n, life) => format!("{:?}", cache.set(&name(key), n, secs(*life)).await),
        Step::SetMany(keys, n) => {
            let items = names(keys).into_iter().map(|it| (it, n));
            format!("{:?}", cache.set_many(items, secs(2)).await.unwrap().is_empty())
        }
        Step::Add(key, n, life) => format!("{:?}", cache.add(&name(key), n, secs(*life)).await),
        Step::Replace(key, n, life) => {
            format!("{:?}", cache.replace(&name(key), n, secs(*life)).await)
        }
        Step::Delete(key) => format!("{:?}", cache.delete(&name(key)).await),
        Step::DeleteMany(keys) => format!("{:?}", cache.delete_many(names(keys)).await),
        Step::Pop(key) => format!("{:?}", cache.pop::<i64>(&name(key)).await),
        Step::Touch(key, life) => format!("{:?}", cache.touch(&name(key), secs(*life)).await),
        Step::Incr(key) => {
            format!("{:?}", cache.incr(&name(key), 1).await.map_err(|it| it.kind()))
        }
        Step::IncrOr(key) => {
            let new = cache.incr_or(&name(key), 1, 7, secs(2)).await;
            format!("{:?}", new.map_err(|it| it.kind()))
        }
        Step::Update(key) => {
            let change = |it: i64| it.wrapping_mul(2);
            format!("{:?}", cache.update(&name(key), secs(2), change).await)
        }
        Step::GetOrSet(key, n) => {
            format!("{:?}", cache.get_or_set(&name(key), secs(2), || ready(*n)).await)
        }
        Step::GetOrSetMany(keys, n) => {
            let load = |missing: Vec<String>| {
                ready(missing.into_iter().map(|it| (it, *n)).collect::<Vec<_>>())
            };
            let found = cache.get_or_set_many(names(keys), secs(2), load).await;
            format!("{:?}", sorted(found.unwrap()))
        }
        Step::Fetch(key, n) => {
            let (name, n) = (name(key), *n);
            let load = move |_| ready(Ok::<_, std::convert::Infallible>(n));
            let grace = Duration::ZERO;
            format!("{:?}", cache.fetch(&name).ttl(secs(2)).grace(grace).load(load).await)
        }
        Step::IncrVersion(key) => {
            let version = cache.incr_version(&name(key), 1).await;
            format!("{:?}", version.map_err(|it| it.kind()))
        }
        Step::Clear => format!("{:?}", cache.clear().await),
        Step::Tag(key, n) if has_tags => {
            format!("{:?}", cache.with_tags(["t"]).set(&name(key), n, secs(3)).await)
        }
        Step::Invalidate if has_tags => format!("{:?}", cache.invalidate_tags(["t"]).await),
        Step::Tag(..) | Step::Invalidate => String::new(),
        Step::Pass(seconds) => {
            it.time.advance(Duration::from_secs(*seconds));
            String::new()
        }
    }
}

fn compare(world: impl Fn() -> World, has_tags: bool, steps: &[Step]) {
    let (with, without) = (world(), world());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut memo = RequestMemo::new();
        for (index, step) in steps.iter().enumerate() {
            let mut remembering = std::pin::pin!(run(&with, has_tags, step));
            let remembering =
                std::future::poll_fn(|cx| memo.scope_sync(|| remembering.as_mut().poll(cx)));
            let (one, two) = (remembering.await, run(&without, has_tags, step).await);
            assert_eq!(one, two, "step {index} ({step:?})");
        }
    });
    assert!(with.store.all_calls() <= without.store.all_calls());
}

proptest! {
    #[test]
    fn results_are_the_same_with_plain_values(steps in vec(step(), 0..60)) {
        compare(World::plain, false, &steps);
    }

    #[test]
    fn results_are_the_same_with_entries(steps in vec(step(), 0..60)) {
        compare(World::with_entries, true, &steps);
    }
}
