//! The requests that the rules admit: by a clock that the tests move, and under concurrency.

#![cfg(feature = "rate-limit")]

use std::{sync::Arc, time::Duration};

use cache_core::{
    Cache, ErrorKind,
    store::IntoBackend as _,
    testing::{FakeClock, Fault, Faulty},
};
use cache_memory::Memory;
use cache_tower::rate_limit::{Limiter, RateLimit};
use tokio::sync::Barrier;

const MINUTE: Duration = Duration::from_secs(60);

fn cache(time: &FakeClock) -> Cache {
    let store = Memory::builder().clock(time.clock()).build().unwrap();
    Cache::builder(store).clock(time.clock()).build("test").unwrap()
}

fn limiter(cache: &Cache, rule: RateLimit) -> Limiter {
    Limiter::deny_on_failure(cache, "test", rule).unwrap()
}

async fn allowed(limiter: &Limiter) -> bool {
    let decision = limiter.check("ada").await.unwrap();
    assert_eq!(decision.allowed, decision.retry_after.is_none());
    assert!(!decision.store_failed);
    decision.allowed
}

/// Sends so many requests and returns how many were allowed.
async fn admitted(limiter: &Limiter, requests: usize) -> usize {
    let mut res = 0;
    for _ in 0..requests {
        res += usize::from(allowed(limiter).await);
    }
    res
}

#[tokio::test]
async fn fixed_window_ends_at_its_time_although_refused_requests_go_on() {
    let time = FakeClock::new();
    let limiter = limiter(&cache(&time), RateLimit::fixed_window(3, MINUTE));
    let first = limiter.check("ada").await.unwrap();
    assert_eq!((first.limit, first.remaining, first.reset_after), (3, 2, MINUTE));
    time.advance(Duration::from_secs(45));
    assert_eq!(admitted(&limiter, 10).await, 2);
    let refused = limiter.check("ada").await.unwrap();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(15)));
    assert_eq!(limiter.check("bob").await.unwrap().remaining, 2, "each client has a count");
    time.advance(Duration::from_millis(14_999));
    assert!(!allowed(&limiter).await);
    time.advance(Duration::from_millis(1));
    assert_eq!(admitted(&limiter, 10).await, 3);
}

#[tokio::test]
async fn request_leaves_a_sliding_window_between_one_window_and_a_sixtieth_more() {
    let time = FakeClock::new();
    let limiter = limiter(&cache(&time), RateLimit::sliding_window(2, MINUTE));
    time.advance(Duration::from_millis(300));
    assert!(allowed(&limiter).await);
    time.advance(Duration::from_secs(30));
    assert!(allowed(&limiter).await);
    let refused = limiter.check("ada").await.unwrap();
    let wait = refused.retry_after.unwrap();
    assert!((Duration::from_secs(30)..=Duration::from_secs(31)).contains(&wait), "{wait:?}");
    time.advance(wait.checked_sub(Duration::from_nanos(1)).unwrap());
    assert!(!allowed(&limiter).await);
    time.advance(Duration::from_nanos(1));
    assert_eq!(admitted(&limiter, 10).await, 1);
}

/// Requests at times that a generator chooses: no interval of one window has more than the limit.
#[tokio::test]
async fn no_interval_of_a_sliding_window_has_more_than_the_limit() {
    let time = FakeClock::new();
    let limiter = limiter(&cache(&time), RateLimit::sliding_window(7, MINUTE));
    let (mut random, mut passed) = (1_u64, Vec::new());
    for _ in 0..3000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        time.advance(Duration::from_millis(random >> 51));
        if allowed(&limiter).await {
            passed.push(time.clock().now());
        }
    }
    assert!(passed.len() > 1000, "{} requests passed", passed.len());
    for (i, at) in passed.iter().enumerate() {
        let others = passed[..i].iter().filter(|it| **it + MINUTE > *at).count();
        assert!(others < 7, "{others} requests within a minute before {at:?}");
    }
}

#[tokio::test]
async fn gcra_admits_a_burst_and_then_an_even_rate() {
    let time = FakeClock::new();
    let limiter = limiter(&cache(&time), RateLimit::gcra(60, MINUTE).burst(3));
    assert_eq!(admitted(&limiter, 10).await, 3);
    let refused = limiter.check("ada").await.unwrap();
    assert_eq!((refused.limit, refused.retry_after), (3, Some(Duration::from_secs(1))));
    time.advance(Duration::from_millis(2500));
    let second = limiter.check("ada").await.unwrap();
    assert_eq!((second.remaining, second.reset_after), (1, Duration::from_millis(500)));
    assert_eq!(admitted(&limiter, 10).await, 1);
    time.advance(MINUTE);
    assert_eq!(admitted(&limiter, 10).await, 3, "a pause saves no more than the burst");
}

#[tokio::test]
async fn limit_of_zero_refuses_and_a_window_of_zero_is_an_error() {
    let cache = cache(&FakeClock::new());
    for rule in [RateLimit::fixed_window, RateLimit::sliding_window, RateLimit::gcra]
        .map(|it| it(0, MINUTE))
    {
        assert_eq!(admitted(&limiter(&cache, rule), 3).await, 0, "{rule:?}");
    }
    let rule = RateLimit::gcra(1, Duration::ZERO);
    let error = Limiter::deny_on_failure(&cache, "test", rule).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for name in ["", "ümlaut", "line\n"] {
        let rule = RateLimit::gcra(1, MINUTE);
        assert!(Limiter::allow_on_failure(&cache, name, rule).is_err(), "{name:?}");
    }
}

/// Two processes whose clocks differ, on one store.
#[tokio::test]
async fn clock_that_is_ahead_admits_its_difference_once() {
    for rule in [RateLimit::sliding_window(60, MINUTE), RateLimit::gcra(60, MINUTE)] {
        let (store_time, early, late) = (FakeClock::new(), FakeClock::new(), FakeClock::new());
        let store = Memory::builder().clock(store_time.clock()).build().unwrap().into_backend();
        let at = |time: &FakeClock| {
            let store = Arc::clone(&store);
            limiter(&Cache::builder(store).clock(time.clock()).build("test").unwrap(), rule)
        };
        late.advance(Duration::from_secs(90));
        let (early, late) = (at(&early), at(&late));
        assert_eq!(admitted(&early, 100).await, 60, "{rule:?}");
        // For the clock that is ahead, all of them are past.
        assert_eq!(admitted(&late, 1).await, 1, "{rule:?}");
        assert_eq!(admitted(&early, 100).await, 59, "{rule:?}");
        for _ in 0..3 {
            assert_eq!(admitted(&late, 100).await, 0, "{rule:?}");
            assert_eq!(admitted(&early, 100).await, 0, "{rule:?}");
        }
        // The store forgets the time that was ahead.
        store_time.advance(Duration::from_secs(62));
        assert_eq!(admitted(&early, 100).await, 60, "{rule:?}");
    }
}

#[tokio::test]
async fn store_that_fails_admits_or_refuses_as_the_constructor_says() {
    let store = Faulty::new(Memory::new());
    let cache = Cache::builder(store.clone()).build("test").unwrap();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for rule in [
        RateLimit::fixed_window(1, MINUTE),
        RateLimit::sliding_window(1, MINUTE),
        RateLimit::gcra(1, MINUTE),
    ] {
        let allowing = Limiter::allow_on_failure(&cache, "a", rule).unwrap();
        let denying = Limiter::deny_on_failure(&cache, "b", rule).unwrap();
        for _ in 0..3 {
            let decision = allowing.check("ada").await.unwrap();
            assert!(decision.allowed && decision.store_failed, "{rule:?}");
            let decision = denying.check("ada").await.unwrap();
            assert!(!decision.allowed && decision.store_failed, "{rule:?}");
            assert!(decision.retry_after.is_some());
        }
        assert!(denying.reset("ada").await.is_err());
    }
}

#[tokio::test]
async fn mistake_is_an_error_and_not_a_failure_of_the_store() {
    let cache = Cache::builder(Memory::new()).tags(true).build("test").unwrap().with_tags(["t"]);
    let rule = RateLimit::fixed_window(1, MINUTE);
    let limiter = Limiter::allow_on_failure(&cache, "test", rule).unwrap();
    assert_eq!(limiter.check("ada").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn reset_forgets_one_client() {
    let cache = cache(&FakeClock::new());
    for rule in [RateLimit::fixed_window, RateLimit::sliding_window, RateLimit::gcra]
        .map(|it| it(1, MINUTE))
    {
        let limiter = limiter(&cache, rule);
        assert!(allowed(&limiter).await && limiter.check("bob").await.unwrap().allowed);
        assert!(limiter.reset("ada").await.unwrap());
        assert!(!limiter.reset("ada").await.unwrap());
        assert!(allowed(&limiter).await);
        assert!(!limiter.check("bob").await.unwrap().allowed);
    }
}

#[tokio::test]
async fn any_text_is_a_key() {
    let cache = cache(&FakeClock::new());
    let limiter = limiter(&cache, RateLimit::fixed_window(1, MINUTE));
    for key in ["", " \n\0", "sécret", &"k".repeat(10_000)] {
        assert!(limiter.check(key).await.unwrap().allowed);
        assert!(!limiter.check(key).await.unwrap().allowed);
    }
}

async fn admitted_of_many_tasks(cache: &Cache, rule: RateLimit, name: &str) -> usize {
    const TASKS: usize = 32;
    let limiter = Limiter::deny_on_failure(cache, name, rule).unwrap();
    let start = Arc::new(Barrier::new(TASKS));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (limiter, start) = (limiter.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                admitted(&limiter, 5).await
            })
        })
        .collect();
    let mut res = 0;
    for task in tasks {
        res += task.await.unwrap();
    }
    res
}

/// A rule for which the time of the test is nothing.
fn rules() -> [RateLimit; 3] {
    let day = Duration::from_secs(86_400);
    [RateLimit::fixed_window, RateLimit::sliding_window, RateLimit::gcra].map(|it| it(50, day))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_of_one_process_together_get_exactly_the_limit() {
    for rule in rules() {
        for round in 0..20 {
            let cache = Cache::new("test", Memory::new());
            let admitted = admitted_of_many_tasks(&cache, rule, "tasks").await;
            assert_eq!(admitted, 50, "{rule:?} in round {round}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_on_redis_together_get_exactly_the_limit() {
    use cache_core::Caches;
    use cache_redis as _;

    let server = test_servers::Redis::start().unwrap();
    let settings = format!(
        "[caches.default]\nbackend = 'redis'\nlocation = '{}'\ndeadline = '20s'\n\
         connect_deadline = '20s'\nbreaker.enabled = false",
        server.url()
    );
    // Two sets of caches share no queue of updates, as two processes.
    let caches: Vec<_> = (0..2).map(|_| Caches::from_toml(&settings).unwrap()).collect();
    for rule in rules() {
        for round in 0..3 {
            let name = format!("round-{round}");
            let [one, two] = [0, 1]
                .map(|i| admitted_of_many_tasks(caches[i].get("default").unwrap(), rule, &name));
            let (one, two) = tokio::join!(one, two);
            assert_eq!(one + two, 50, "{rule:?} in round {round}");
        }
    }
}
