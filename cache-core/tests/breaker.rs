//! The circuit breaker: when it opens, how it probes, and which aliases share it.

#![allow(missing_docs)]

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use cache_core::{
    Cache, Caches, Driver, Error, ErrorKind,
    layer::{
        Breaker, BreakerSettings, BreakerState, Call, Layer, Layered, Operation, Reply,
        RetrySettings,
    },
    store::{BuildContext, Inline},
    testing::{FakeClock, Fault, Faulty, Model},
};

const DEADLINE: Duration = Duration::from_millis(500);

fn breaker() -> (Breaker, FakeClock) {
    let time = FakeClock::new();
    (Breaker::new(BreakerSettings::default(), time.clock()), time)
}

fn silence() -> Error {
    Error::new(ErrorKind::TimedOut, "no answer")
}

fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "connection refused")
}

fn answers(breaker: &Breaker, times: usize) {
    for _ in 0..times {
        breaker.admit().unwrap().record(None);
    }
}

fn open(breaker: &Breaker) {
    for _ in 0..3 {
        breaker.admit().unwrap().record(Some(&silence()));
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

/// Moves the clock whenever every task waits for it, until the future is done.
async fn with_time<F: Future>(time: &FakeClock, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = tokio::task::yield_now() => time.advance(Duration::from_millis(1)),
        }
    }
}

fn world() -> (Faulty, Cache, FakeClock) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let store = store.with_clock(time.clock());
    let builder = Cache::builder(Arc::new(store.clone())).clock(time.clock());
    (store, builder.build("test").unwrap().strict(), time)
}

#[test]
fn three_unanswered_calls_in_a_row_open_the_breaker() {
    let (breaker, time) = breaker();
    answers(&breaker, 10_000);
    time.advance(Duration::from_millis(20));
    let calls: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
    time.advance(DEADLINE);
    for call in calls {
        assert_eq!(breaker.state(), BreakerState::Closed);
        call.record(Some(&silence()));
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn timeouts_between_answered_calls_do_not_open_the_breaker() {
    let (breaker, time) = breaker();
    answers(&breaker, 1000);
    for _ in 0..20 {
        let slow = breaker.admit().unwrap();
        time.advance(DEADLINE / 2);
        answers(&breaker, 2);
        time.advance(DEADLINE / 2);
        slow.record(Some(&silence()));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn refused_connections_do_not_count_as_unanswered_calls() {
    let (breaker, _) = breaker();
    answers(&breaker, 1000);
    for _ in 0..100 {
        breaker.admit().unwrap().record(Some(&refused()));
    }
    assert_eq!(
        breaker.state(),
        BreakerState::Closed,
        "a restart refuses connections; the failure rate decides"
    );
}

#[tokio::test]
async fn single_caller_opens_the_breaker_within_one_and_a_half_deadlines() {
    let (store, cache, time) = world();
    for _ in 0..1000 {
        cache.get::<i32>("k").await.unwrap();
    }
    store.inject(|_| Fault::Hang);
    let before = time.clock().now();
    while cache.stats().breaker == Some(BreakerState::Closed) {
        with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    }
    let took = time.clock().now().saturating_sub(before);
    assert!(took < DEADLINE * 3 / 2, "{took:?}");
    assert!(took >= DEADLINE, "the first call has the whole deadline: {took:?}");
}

#[tokio::test]
async fn slow_answers_before_do_not_keep_the_breaker_closed_longer() {
    for percent in [10, 20, 30, 50, 90] {
        let (store, cache, time) = world();
        store.inject(move |_| Fault::Delay(DEADLINE * percent / 100));
        with_time(&time, cache.get::<i32>("k")).await.unwrap();
        store.inject(|_| Fault::Hang);
        let before = time.clock().now();
        while cache.stats().breaker == Some(BreakerState::Closed) {
            with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
        }
        let took = time.clock().now().saturating_sub(before);
        // Each call ends with a step of the clock.
        let limit = DEADLINE * 3 / 2 + Duration::from_millis(3);
        assert!(took <= limit, "{took:?} after answers of {percent} % of the deadline");
        assert!(took >= DEADLINE * 6 / 5, "one call opened the breaker: {took:?}");
    }
}

#[tokio::test]
async fn call_after_an_unanswered_one_has_the_time_of_a_slow_server() {
    let (store, cache, time) = world();
    let slow = || store.inject(|_| Fault::Delay(DEADLINE * 2 / 5));
    slow();
    with_time(&time, cache.get::<i32>("k")).await.unwrap();
    store.inject(|_| Fault::Hang);
    with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    slow();
    with_time(&time, cache.get::<i32>("k")).await.unwrap();
}

#[tokio::test]
async fn reply_after_a_timeout_restores_the_full_deadline() {
    let (store, cache, time) = world();
    store.inject(|_| Fault::Hang);
    with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    store.heal();
    cache.get::<i32>("k").await.unwrap();
    store.inject(|_| Fault::Delay(DEADLINE * 4 / 5));
    with_time(&time, cache.get::<i32>("k")).await.unwrap();
}

#[tokio::test]
async fn failed_probe_takes_less_than_a_quarter_of_the_deadline() {
    let (store, cache, time) = world();
    store.inject(|_| Fault::Hang);
    while cache.stats().breaker != Some(BreakerState::Open) {
        with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    }
    let before = store.calls(Operation::Get);
    time.advance(Duration::from_secs(1));
    let began = time.clock().now();
    with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    let took = time.clock().now().saturating_sub(began);
    assert!(took < DEADLINE / 4, "{took:?}");
    assert_eq!(store.calls(Operation::Get), before + 1, "the probe was not sent");
}

/// The server replies within the deadline, but later than the limit of a probe.
#[tokio::test]
async fn slow_server_closes_the_breaker_again() {
    let (store, cache, time) = world();
    store.inject(|_| Fault::Hang);
    while cache.stats().breaker != Some(BreakerState::Open) {
        with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    }
    store.inject(|_| Fault::Delay(DEADLINE * 4 / 5));
    for _ in 0..4 {
        time.advance(Duration::from_secs(1));
        drop(with_time(&time, cache.get::<i32>("k")).await);
    }
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

#[tokio::test]
async fn unpolled_probe_does_not_keep_other_calls_out() {
    let (store, cache, time) = world();
    store.inject(|_| Fault::Hang);
    while cache.stats().breaker != Some(BreakerState::Open) {
        with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
    }
    time.advance(Duration::from_secs(1));
    let mut aside = Box::pin(cache.get::<i32>("k"));
    assert!(aside.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(cache.stats().breaker, Some(BreakerState::HalfOpen));
    store.heal();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert!(error.to_string().contains("testing whether the server answers"), "{error}");
    time.advance(DEADLINE);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "the next call may probe");
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
    aside.await.unwrap_err();
    assert_eq!(
        cache.stats().breaker,
        Some(BreakerState::Closed),
        "the late result of the probe counts"
    );
}

#[tokio::test]
async fn calls_after_a_slow_probe_have_the_time_that_it_took() {
    let (breaker, time) = breaker();
    open(&breaker);
    time.advance(Duration::from_secs(1));
    let probe = breaker.admit().unwrap();
    time.advance(DEADLINE / 2);
    probe.record(None);
    breaker.admit().unwrap().record(Some(&silence()));
    let slow = async {
        time.clock().sleep(DEADLINE / 2).await;
        Ok(())
    };
    with_time(&time, breaker.run(slow)).await.unwrap();
}

#[test]
fn window_of_zero_leaves_the_breaker_closed() {
    let mut settings = BreakerSettings::default();
    settings.window = Duration::ZERO.into();
    let breaker = Breaker::new(settings, FakeClock::new().clock());
    answers(&breaker, 2);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn late_result_of_a_probe_is_ignored_after_the_next_probe_began() {
    let (breaker, time) = breaker();
    open(&breaker);
    time.advance(Duration::from_secs(1));
    let old = breaker.admit().unwrap();
    breaker.admit().unwrap_err();
    time.advance(DEADLINE);
    let new = breaker.admit().unwrap();
    old.record(None);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    new.record(Some(&silence()));
    assert_eq!(breaker.state(), BreakerState::Open);
    // If the old probe is dropped late, the permit of the new probe stays.
    time.advance(Duration::from_secs(1));
    let old = breaker.admit().unwrap();
    time.advance(DEADLINE);
    let new = breaker.admit().unwrap();
    drop(old);
    breaker.admit().unwrap_err();
    new.record(None);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn error_that_the_breaker_ignores_neither_opens_nor_closes_it() {
    let (breaker, time) = breaker();
    let locked = silence().ignored_by_breaker();
    for _ in 0..1000 {
        breaker.admit().unwrap().record(Some(&locked));
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    open(&breaker);
    time.advance(Duration::from_secs(1));
    breaker.admit().unwrap().record(Some(&locked));
    assert_eq!(breaker.state(), BreakerState::Open, "an ignored error closes the breaker");
    breaker.admit().unwrap().record(None);
    assert_eq!(breaker.state(), BreakerState::Closed, "the next call did not probe at once");
}

/// Fails each call like a call that waited for a lock for too long.
#[derive(Debug)]
struct Locked;

impl Layer for Locked {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        drop(run().await);
        R::failed(&call, silence().ignored_by_breaker())
    }

    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

/// A retry may find the lock free.
#[tokio::test]
async fn calls_that_wait_for_a_lock_are_retried_and_leave_the_breaker_closed() {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let locked = Layered::new(Arc::new(Locked), Arc::new(store.clone()));
    let cache = Cache::builder(Arc::new(locked)).clock(time.clock());
    let cache = cache.retry(RetrySettings::times(1)).build("test").unwrap().strict();
    for _ in 0..50 {
        with_time(&time, cache.get::<i32>("k")).await.unwrap_err();
        with_time(&time, cache.get_many::<i32, _>(["a", "b"])).await.unwrap_err();
    }
    assert_eq!(store.calls(Operation::Get), 100);
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

#[test]
fn aliases_of_one_server_with_equal_settings_share_a_breaker() {
    let driver = Driver::new("net", |context: &BuildContext<'_>| {
        let store = Faulty::new(Arc::new(Inline::new(Model::new(context.clock().clone()))));
        store.inject(|_| Fault::Error(ErrorKind::Unavailable));
        context.one_server(context.location()?.unwrap_or_default())?;
        Ok(Arc::new(store))
    });
    let text = "
        caches.default = { backend = 'net', location = 'a:1' }
        caches.same = { backend = 'net', location = 'a:1', key_prefix = 'p' }
        caches.other_server = { backend = 'net', location = 'b:1' }
        caches.other_deadline = { backend = 'net', location = 'a:1', deadline = '1s' }
        caches.other_breaker = { backend = 'net', location = 'a:1', breaker = { min_calls = 20 } }
    ";
    // The time stands still, so an open breaker stays open.
    let caches = Caches::builder().driver(driver).clock(FakeClock::new().clock());
    let caches = caches.toml(text).unwrap().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..10 {
        runtime.block_on(caches.get("default").unwrap().get::<i32>("k")).unwrap();
    }
    let state = |alias| caches.get(alias).unwrap().stats().breaker.unwrap();
    assert_eq!((state("default"), state("same")), (BreakerState::Open, BreakerState::Open));
    for alias in ["other_server", "other_deadline", "other_breaker"] {
        assert_eq!(state(alias), BreakerState::Closed, "{alias}");
    }
}

#[tokio::test]
async fn run_admits_limits_and_records_a_call() {
    let (breaker, time) = breaker();
    assert_eq!(breaker.run(async { Ok(7) }).await.unwrap(), 7);
    breaker.run::<()>(async { Err(silence()) }).await.unwrap_err();
    let before = time.clock().now();
    let error = with_time(&time, breaker.run(pending::<Result<(), Error>>())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(time.clock().now().saturating_sub(before) < DEADLINE / 4);
    assert!(breaker.admits());
    breaker.run::<()>(async { Err(silence()) }).await.unwrap_err();
    assert!(!breaker.admits());
    breaker.run::<()>(async { unreachable!("the breaker is open") }).await.unwrap_err();
}
