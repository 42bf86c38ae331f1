//! The blocking cache, called from every kind of thread, over stores that wait and stores that do
//! not.

#![allow(missing_docs)]

use std::{sync::Arc, time::Duration};

use cache_core::{
    Bypass, Cache, Error, ErrorKind, Fetch, FetchOutcome, FetchSettings, Fetched, Keyspace, Loaded,
    Result, Timeout, Ttl,
    config::Period,
    layer::{Call, Layer, Layered, Reply},
    secs,
    store::{Backend, Inline, Offload, current_runtime},
    testing::{Fault, Faulty, Model},
};
use tokio::runtime::{Builder, Handle};

/// Needs the caller's runtime and its timer, as a network store does.
#[derive(Debug)]
struct NeedsRuntime;

impl Layer for NeedsRuntime {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        match current_runtime() {
            Ok(_) => {
                // sleeps: such a store needs a timer of the caller's runtime.
                tokio::time::sleep(Duration::from_millis(1)).await;
                run().await
            }
            Err(error) => R::failed(&call, error),
        }
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

fn network() -> Cache {
    let store = Layered::new(Arc::new(NeedsRuntime), Arc::new(Offload::new(Model::default(), 2)));
    with_long_deadline("network", store)
}

/// Builds a cache with a long deadline, because a slow machine must not fail these tests.
fn with_long_deadline(alias: &str, store: impl Backend + 'static) -> Cache {
    Cache::builder(Arc::new(store)).deadline(Period::from_secs(60)).build(alias).unwrap()
}

fn caches() -> [Cache; 3] {
    [
        Cache::new("inline", Model::default()),
        with_long_deadline("offload", Offload::new(Model::default(), 2)),
        network(),
    ]
}

/// Calls every method once and checks the result.
fn use_all(cache: &Cache) -> Result<()> {
    let it = cache.blocking();
    it.clear()?;
    it.set("a", &1, secs(60))?;
    assert_eq!(it.get::<i32>("a")?, Some(1));
    it.bytes().set("raw", &b"\xc1\xca"[..], Timeout::Default)?;
    assert_eq!(it.bytes().get("raw")?.as_deref(), Some(&b"\xc1\xca"[..]));
    assert!(!it.add("a", &2, Timeout::Default)? && it.replace("a", &2, Timeout::Default)?);
    assert_eq!(it.incr("a", 3)?, 5);
    assert_eq!(it.decr("a", 1)?, 4);
    assert_eq!(it.incr_or("n", 1, 10, Timeout::Default)?, 11);
    assert!(it.set_many([("x", 1), ("y", 2)], Timeout::Default)?.is_empty());
    assert_eq!(it.get_many::<i32, _>(["x", "y", "z"])?, [("x", 1), ("y", 2)].into());
    assert_eq!(it.delete_many(["x", "z"])?, 1);
    assert!(it.touch("a", secs(9))? && it.has_key("a")? && it.ttl("a")?.is_some());
    assert_eq!(it.update::<i32>("a", Timeout::Default, |n| n + 1)?, Some(5));
    assert_eq!(it.get_or_set("l", Timeout::Default, || 7)?, 7);
    let nested =
        it.get_or_try_set("m", Timeout::Default, || it.get_or_set("l", Timeout::Default, || 0));
    assert_eq!(nested?, 7, "a loader may use the blocking cache");
    assert_eq!(it.incr_version("a", 1)?, 2);
    assert_eq!(it.at_version(2).decr_version("a", 1)?, 1);
    assert_eq!(it.pop::<i32>("a")?, Some(5));
    assert!(!it.delete("a")?);
    it.check()?;
    it.close()?;
    it.clear_store()
}

#[test]
fn blocking_calls_work_on_a_plain_thread_over_every_store() {
    for cache in caches() {
        use_all(&cache).unwrap();
    }
}

#[test]
fn blocking_calls_work_on_blocking_threads_and_are_refused_on_runtime_threads() {
    for flavor in ["multi_thread", "current_thread"] {
        let runtime = match flavor {
            "multi_thread" => Builder::new_multi_thread().worker_threads(1).enable_all().build(),
            _ => Builder::new_current_thread().enable_all().build(),
        }
        .unwrap();
        for cache in caches() {
            runtime.block_on(async {
                let error = cache.blocking().get::<i32>("k").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Runtime);
                assert!(error.to_string().contains("spawn_blocking"), "{error}");
                let task = {
                    let cache = cache.clone();
                    tokio::spawn(async move {
                        let kind = cache.blocking().get::<i32>("k").map_err(|it| it.kind());
                        assert_eq!(kind, Err(ErrorKind::Runtime), "on a worker");
                        if flavor == "multi_thread" {
                            tokio::task::block_in_place(|| use_all(&cache).unwrap());
                        }
                        tokio::task::spawn_blocking(move || use_all(&cache).unwrap())
                            .await
                            .unwrap();
                    })
                };
                task.await.unwrap();
            });
            let _entered = runtime.enter();
            use_all(&cache).unwrap();
        }
    }
}

/// Only the calls of the store run on the library's runtime: a loader may use its own.
#[test]
fn loader_of_a_blocking_call_is_in_the_runtime_of_its_caller() {
    let cache = network();
    let id = || Handle::try_current().ok().map(|it| it.id().to_string());
    let load = move |key| cache.blocking().get_or_set(key, secs(60), id).unwrap();
    assert_eq!(load("thread"), None);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let callers = runtime.handle().id().to_string();
    let seen = runtime.block_on(async { tokio::task::spawn_blocking(move || load("k")).await });
    assert_eq!(seen.unwrap(), Some(callers));
}

#[test]
fn network_store_without_a_runtime_or_timer_is_a_runtime_error() {
    let cache = network();
    let poll_once = || {
        use std::{
            pin::pin,
            task::{Context, Waker},
        };
        let mut future = pin!(cache.get::<i32>("k"));
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    let std::task::Poll::Ready(Err(error)) = poll_once() else { panic!("no error") };
    assert_eq!(error.kind(), ErrorKind::Runtime, "a mistake of the caller never fails open");
    assert!(error.to_string().contains("blocking()"), "{error}");

    let without_timer = Builder::new_current_thread().build().unwrap();
    let error = without_timer.block_on(cache.get::<i32>("k")).unwrap_err();
    assert!(error.to_string().contains("enable_time"), "{error}");
}

#[test]
fn async_calls_of_an_in_process_store_need_no_runtime() {
    let cache = Cache::new("inline", Model::default());
    let mut future = std::pin::pin!(cache.get_or_set("k", Timeout::Default, || async { 7 }));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(matches!(future.as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(7))));
}

#[test]
fn deadline_ends_a_hung_call_without_a_runtime() {
    let store = Faulty::new(Arc::new(Inline::new(Model::default())));
    store.inject(|_| Fault::Hang);
    let cache =
        Cache::builder(Arc::new(store)).deadline(Period::from_millis(20)).build("hung").unwrap();
    let cache = cache.blocking();
    assert_eq!(cache.get::<i32>("k").unwrap(), None, "a read of a hung store is a miss");
    assert_eq!(cache.incr("k", 1).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(cache.stats().total().failures, 2);
}

#[test]
fn paused_clock_of_the_caller_does_not_time_calls_out() {
    // When no task can run, tokio's paused clock jumps to the next timer: a store that replies from
    // another thread would always time out.
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let cache = with_long_deadline("offload", Offload::new(Model::default(), 1)).strict();
    runtime.block_on(async {
        for n in 0..100 {
            cache.set("k", &n, Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(n));
        }
    });
}

#[test]
fn bypassed_fetch_needs_no_runtime() {
    let cache = Cache::new("test", Model::default()).blocking();
    cache.set("k", &1, secs(60)).unwrap();
    let fetch = || cache.fetch("k", |it| it, |_| Ok::<_, Error>(2));
    assert_eq!(Bypass::when(true).scope_sync(fetch).unwrap(), 2);
    let fetched = cache.fetch("k", |it| it.bypass().ttl(secs(60)), |_| Ok::<_, Error>(3));
    assert_eq!(fetched.unwrap(), 3);
    assert_eq!(cache.get("k").unwrap(), Some(1));
}

#[test]
fn calls_in_the_loader_of_a_bypassed_fetch_are_bypassed() {
    let cache = Cache::new("test", Model::default()).blocking();
    cache.set("inner", &1, secs(60)).unwrap();
    let inner = cache.clone();
    let load = move |_| inner.get_or_set("inner", secs(60), || 2);
    let fetched = Bypass::when(true).scope_sync(|| cache.fetch("outer", |it| it, load));
    assert_eq!(fetched.unwrap(), 2);
    assert_eq!(cache.get("inner").unwrap(), Some(1));
}

#[test]
fn blocking_fetches_have_the_results_and_options_of_async_ones() {
    static USERS: Keyspace<u64, u32> = Keyspace::new("user");
    let mut fetch = FetchSettings::with_grace(Duration::from_secs(60));
    fetch.negative_ttl = Some(Period::from_secs(60));
    let builder = Cache::builder(Arc::new(Inline::new(Model::default()))).fetch(fetch);
    let cache = builder.build("test").unwrap().blocking();
    let users = USERS.blocking();
    let nothing = |_| Ok::<_, Error>(None::<u32>);
    let some = |_| Ok::<_, Error>(Some(1_u32));
    let value = |value: u32| move |_| Ok::<_, Error>(Loaded::Value(value));

    assert_eq!(cache.fetch_optional("none", |it| it, nothing).unwrap(), None);
    assert_eq!(cache.fetch_optional("none", |it| it, some).unwrap(), None, "remembered");
    assert_eq!(users.fetch_optional(&cache, &1, |it| it, nothing).unwrap(), None);
    assert_eq!(users.fetch_optional(&cache, &1, |it| it, some).unwrap(), None, "remembered");

    let is_loaded =
        |it: Fetched<u32>| (it.value, matches!(it.outcome, FetchOutcome::Loaded { .. }));
    for (load, force, expected) in
        [(1, false, (Some(1), true)), (2, false, (Some(1), false)), (3, true, (Some(3), true))]
    {
        let fetched = cache.fetch_outcome("k", forced(force), value(load)).unwrap();
        assert_eq!(is_loaded(fetched), expected);
        let fetched = users.fetch_outcome(&cache, &2, forced(force), value(load)).unwrap();
        assert_eq!(is_loaded(fetched), expected);
    }

    cache.prime("primed", |it| it.ttl(secs(30)), &7).unwrap();
    users.prime(&cache, &3, |it| it.ttl(secs(30)), &7).unwrap();
    for key in ["primed".to_owned(), USERS.key(&3).unwrap()] {
        assert_eq!(cache.get::<u32>(&key).unwrap(), Some(7));
        let Some(Ttl::Remaining(left)) = cache.ttl(&key).unwrap() else { panic!("no lifetime") };
        assert!(left <= Duration::from_secs(34), "the lifetime of the fetch: {left:?}");
    }
}

fn forced(yes: bool) -> impl for<'a> FnOnce(Fetch<'a>) -> Fetch<'a> {
    move |it| if yes { it.force() } else { it }
}
