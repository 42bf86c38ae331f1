//! The layers around a store that waits: deadline, retry, breaker.

#![allow(missing_docs)]

mod replicated;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, CacheBuilder, Caches, Clock, Driver, Error, ErrorKind, FetchSettings, Timeout,
    config::Period,
    layer::{Breaker, BreakerSettings, BreakerState, Operation, RetrySettings},
    store::{Backend, BuildContext, Capabilities, Inline},
    testing::{FakeClock, Fault, Faulty, Model},
};

use self::replicated::Replicated;

const DOWN: Fault = Fault::Error(ErrorKind::Unavailable);

fn world(build: impl FnOnce(CacheBuilder) -> CacheBuilder) -> (Faulty, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let builder = Cache::builder(Arc::new(store.clone())).clock(time.clock());
    (store, build(builder).build("test").unwrap(), time)
}

/// Fails the first `n` calls.
fn fail_first(store: &Faulty, n: u32, fault: Fault) {
    let left = AtomicU32::new(n);
    store.inject(move |_| {
        let fails = left.fetch_update(SeqCst, SeqCst, |it| it.checked_sub(1)).is_ok();
        if fails { fault } else { Fault::None }
    });
}

/// Moves the clock whenever every task waits for it, until the future is done.
async fn with_time<F: Future>(time: &FakeClock, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = tokio::task::yield_now() => time.advance(Duration::from_millis(1)),
        }
    }
}

#[tokio::test]
async fn unanswered_call_ends_at_the_deadline() {
    let (store, cache, time) = world(|it| it.deadline(Period::from_millis(200)));
    let cache = cache.strict();
    store.inject(|_| Fault::Hang);
    let before = time.clock().now();
    let error = with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let took = time.clock().now().saturating_sub(before);
    assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(210), "{took:?}");
    let error = with_time(&time, cache.get_many::<i32, _>(["a", "b"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "a batch has a deadline, too");
}

#[tokio::test]
async fn deadline_of_a_store_that_connects_includes_the_connect_deadline() {
    let time = FakeClock::new();
    let faulty = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    faulty.inject(|_| Fault::Hang);
    let took = async |facts| {
        let part: Arc<dyn Backend> = Arc::new(faulty.clone());
        let store = Replicated { copy: Arc::clone(&part), leader: part, view: None, facts };
        let cache = Cache::builder(Arc::new(store)).clock(time.clock());
        let cache = cache.deadline(Period::from_millis(200)).connect_deadline(Period::from_secs(3));
        let cache = cache.build("test").unwrap().strict();
        let before = time.clock().now();
        let error = with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        time.clock().now().saturating_sub(before)
    };
    let with = took(Capabilities::new().connects()).await;
    let without = took(Capabilities::new()).await;
    let about = |limit: Duration| limit..limit + Duration::from_millis(10);
    assert!(about(Duration::from_millis(3200)).contains(&with), "{with:?}");
    assert!(about(Duration::from_millis(200)).contains(&without), "{without:?}");
}

#[tokio::test]
async fn clear_and_check_have_no_deadline() {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::default()))).with_clock(time.clock());
    let builder = Cache::builder(Arc::new(store.clone())).clock(time.clock());
    let cache = builder.build("test").unwrap();
    store.inject(|_| Fault::Delay(Duration::from_secs(60)));
    with_time(&time, cache.clear()).await.unwrap();
    with_time(&time, cache.check()).await.unwrap();
}

#[tokio::test]
async fn only_idempotent_calls_are_retried() {
    let (store, cache, time) = world(|it| it.retry(RetrySettings::times(2)));
    let cache = cache.strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    let calls = |operation| store.calls(operation);

    fail_first(&store, 2, DOWN);
    assert_eq!(with_time(&time, cache.get::<i32>("k")).await.unwrap(), Some(1));
    fail_first(&store, 1, DOWN);
    with_time(&time, cache.set("k", &2, Timeout::Default)).await.unwrap();
    fail_first(&store, 2, DOWN);
    assert_eq!(with_time(&time, cache.get_many::<i32, _>(["k"])).await.unwrap().len(), 1);

    // The reply was lost, but the call had its effect: a retry would count twice.
    fail_first(&store, 1, Fault::ErrorAfter(ErrorKind::Unavailable));
    with_time(&time, cache.incr("k", 1)).await.unwrap_err();
    assert_eq!((calls(Operation::Incr), cache.get::<i32>("k").await.unwrap()), (1, Some(3)));
    fail_first(&store, 1, Fault::ErrorAfter(ErrorKind::Unavailable));
    with_time(&time, cache.add("a", &1, Timeout::Default)).await.unwrap_err();
    assert_eq!(calls(Operation::Add), 1);
    fail_first(&store, 1, Fault::ErrorAfter(ErrorKind::Unavailable));
    with_time(&time, cache.pop::<i32>("k")).await.unwrap_err();
    assert_eq!(calls(Operation::Pop), 1);

    // An error that the store itself returned is not retried.
    let before = calls(Operation::Get);
    fail_first(&store, 1, Fault::Error(ErrorKind::Backend));
    with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    assert_eq!(calls(Operation::Get), before + 1);
}

/// The delete of a fenced cache also tells whether it removed a value or the lease of a load.
#[tokio::test]
async fn delete_of_a_fenced_cache_is_retried() {
    let mut fenced = FetchSettings::default();
    fenced.fenced = Some(true);
    let (store, cache, time) = world(|it| it.retry(RetrySettings::times(2)).fetch(fenced));
    let cache = cache.strict();
    for fails in 0..=2 {
        cache.set("k", &1, Timeout::Default).await.unwrap();
        fail_first(&store, fails, DOWN);
        assert!(with_time(&time, cache.delete("k")).await.unwrap(), "{fails} failures");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    }
    fail_first(&store, 10, DOWN);
    with_time(&time, cache.delete("k")).await.unwrap_err();
    store.heal();
    let loading = cache.get_or_set("k", Timeout::Default, || async {
        assert!(store.has(":1:k").await.unwrap(), "a lease");
        assert!(!cache.delete("k").await.unwrap(), "a lease is not a value");
        assert!(!store.has(":1:k").await.unwrap());
        1
    });
    assert_eq!(loading.await.unwrap(), 1);
}

#[tokio::test]
async fn retries_end_at_the_deadline() {
    let (store, cache, time) = world(|it| {
        it.retry(RetrySettings::times(1000))
            .deadline(Period::from_millis(300))
            .breaker(BreakerSettings::off())
    });
    let cache = cache.strict();
    store.inject(|_| DOWN);
    let before = time.clock().now();
    let error = with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let took = time.clock().now().saturating_sub(before);
    assert!(took < Duration::from_millis(310), "{took:?}");
    assert!(store.calls(Operation::Get) > 2);
}

#[tokio::test]
async fn calls_are_not_retried_by_default() {
    let (store, cache, _) = world(|it| it);
    store.inject(|_| DOWN);
    cache.strict().get::<i32>("k").await.unwrap_err();
    assert_eq!(store.calls(Operation::Get), 1);
}

#[tokio::test]
async fn breaker_opens_after_repeated_failures_and_closes_after_a_probe_succeeds() {
    let (store, cache, time) = world(|it| it);
    cache.set("k", &1, Timeout::Default).await.unwrap();
    store.inject(|_| DOWN);
    for _ in 0..50 {
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "the read fails open");
    }
    let reached = store.calls(Operation::Get);
    assert!(reached <= 11, "the breaker let {reached} calls through");
    assert_eq!(cache.stats().breaker, Some(BreakerState::Open));
    let error = cache.incr("k", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("breaker is open"), "{error}");
    assert!(
        error.to_string().contains("(last: injected by the test)"),
        "the reason is missing: {error}"
    );

    // A failed probe opens the breaker again.
    time.advance(Duration::from_secs(1));
    cache.get::<i32>("k").await.unwrap();
    cache.get::<i32>("k").await.unwrap();
    assert_eq!(store.calls(Operation::Get), reached + 1, "one probe");

    store.heal();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "still open");
    time.advance(Duration::from_secs(1));
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "the breaker did not close");
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

#[tokio::test]
async fn half_open_breaker_admits_one_probe_and_a_cancelled_probe_blocks_no_call() {
    let (store, cache, time) = world(|it| it);
    store.inject(|_| DOWN);
    for _ in 0..20 {
        cache.get::<i32>("k").await.unwrap();
    }
    store.heal();
    let held = store.hold(Operation::Get);
    let arrived = store.calls(Operation::Get);
    time.advance(Duration::from_secs(1));
    let probe = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<i32>("k").await }
    });
    store.arrived(Operation::Get, arrived + 1).await;
    assert_eq!(cache.stats().breaker, Some(BreakerState::HalfOpen));
    let error = cache.strict().get::<i32>("k").await.unwrap_err();
    assert!(error.to_string().contains("testing whether the server answers"), "{error}");
    probe.abort();
    probe.await.unwrap_err();
    held.release();
    cache.strict().get::<i32>("k").await.unwrap();
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

#[tokio::test]
async fn errors_of_a_server_that_answers_do_not_open_the_breaker() {
    let (store, cache, _) = world(|it| it);
    let cache = cache.strict();
    for kind in [ErrorKind::Backend, ErrorKind::TooLarge, ErrorKind::NotAnInteger] {
        store.inject(move |_| Fault::Error(kind));
        for _ in 0..50 {
            cache.get::<i32>("k").await.unwrap_err();
        }
    }
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
    assert_eq!(cache.stats().errors(ErrorKind::TooLarge), 50);
}

#[test]
fn failures_outside_the_window_do_not_open_the_breaker() {
    let time = FakeClock::new();
    let breaker = Breaker::new(BreakerSettings::default(), time.clock());
    let refused = Error::new(ErrorKind::Unavailable, "refused");
    let fails = || breaker.admit().unwrap().record(Some(&refused));
    for _ in 0..9 {
        fails();
    }
    time.advance(Duration::from_secs(11));
    for _ in 0..9 {
        fails();
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "18 failures, but never 10 in one window");
    time.advance(Duration::from_secs(5));
    fails();
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn failure_rate_under_the_limit_leaves_the_breaker_closed() {
    let breaker = Breaker::new(BreakerSettings::default(), Clock::system());
    let error = Error::new(ErrorKind::Unavailable, "refused");
    for n in 0..1000 {
        breaker.admit().unwrap().record(matches!(n % 5, 1 | 3).then_some(&error));
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "40 % is under the limit");
}

/// The error of a rejected call names the server and the last failure.
#[test]
fn error_of_an_open_breaker_names_the_server_and_the_last_failure() {
    let time = FakeClock::new();
    let breaker = Breaker::new(BreakerSettings::default(), time.clock());
    let refused = Error::new(ErrorKind::Unavailable, "connection refused")
        .with_context("server", "10.0.0.7:6379");
    for _ in 0..10 {
        breaker.admit().unwrap().record(Some(&refused));
    }
    let error = breaker.admit().unwrap_err();
    assert!(error.to_string().contains("(last: connection refused)"), "{error}");
    assert_eq!(error.context("server"), Some("10.0.0.7:6379"));

    // A probe that fails for another reason changes the last failure.
    time.advance(Duration::from_secs(1));
    breaker.admit().unwrap().record(Some(&Error::new(ErrorKind::TimedOut, "no answer")));
    let error = breaker.admit().unwrap_err();
    assert!(error.to_string().contains("(last: no answer)"), "{error}");
    assert_eq!(error.context("server"), None);
}

#[test]
fn in_process_store_has_no_breaker() {
    let cache = Cache::new("test", Model::default());
    assert_eq!(cache.stats().breaker, None);
}

#[test]
fn invalid_settings_of_layers_are_refused_by_name() {
    for (setting, name) in [
        ("breaker.failure_rate = 0", "breaker.failure_rate"),
        ("breaker.failure_rate = 1.5", "breaker.failure_rate"),
        ("breaker.failure_rate = nan", "breaker.failure_rate"),
        ("breaker.window = '1ms'", "breaker.window"),
        ("breaker.min_calls = 0", "breaker.min_calls"),
        ("breaker.unanswered = 0", "breaker.unanswered"),
        ("breaker.open = 5", "breaker.open"),
        ("retry.retries = -1", "retry.retries"),
        ("retry.backoff = 'soon'", "retry.backoff"),
        ("deadline = 0", "deadline"),
        ("connect_deadline = '0s'", "connect_deadline"),
        ("load_deadline = 0.0", "load_deadline"),
    ] {
        let error = Caches::from_toml(&format!("[caches.default]\nbackend = 'dummy'\n{setting}"))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let path = format!("caches.default.{name}");
        assert!(error.to_string().contains(&path), "`{path}` is not in: {error}");
    }
    let good = "[caches.default]\nbackend = 'dummy'\nbreaker = { enabled = false }\nretry = { retries = 2, backoff = '5ms' }";
    assert!(Caches::from_toml(good).is_ok());
}

/// A driver that creates its own breakers runs before the facade checks the settings.
#[test]
fn breaker_of_a_driver_has_the_settings_of_its_alias() {
    let driver = Driver::new("servers", |context: &BuildContext<'_>| {
        let made = context.breaker("one").map_err(|it| it.with_context("from", "the driver"))?;
        assert_eq!(made.is_some(), context.settings().breaker.enabled);
        if let (Some(one), Some(two)) = (made, context.breaker("two")?) {
            for _ in 0..3 {
                one.admit()?.record(Some(&Error::new(ErrorKind::Unavailable, "refused")));
            }
            assert_eq!(one.state(), BreakerState::Open, "by the settings");
            assert_eq!(two.state(), BreakerState::Closed, "each server has its own");
        }
        Ok(Arc::new(Inline::new(Model::new(context.clock().clone()))))
    });
    let build = |settings: &str| {
        let text = format!("[caches.default]\nbackend = 'servers'\nbreaker = {{ {settings} }}");
        Caches::builder().driver(driver).toml(&text)?.build()
    };
    build("min_calls = 3").unwrap();
    build("enabled = false").unwrap();
    for (setting, name) in [
        ("window = '0s'", "window"),
        ("failure_rate = 0", "failure_rate"),
        ("failure_rate = nan", "failure_rate"),
        ("min_calls = 0", "min_calls"),
        ("enabled = false, window = '0s'", "window"),
    ] {
        let error = build(setting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{setting}");
        for word in [&format!("caches.default.breaker.{name}"), "the driver"] {
            assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
        }
    }
}
