//! A stream of changes that a test writes by hand.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, Error, ErrorKind, NearInvalidation, NearStats,
    layer::Operation,
    secs,
    store::{
        Backend, Heartbeat, Invalidation, InvalidationReceiver, Invalidations, Namespace, SetMode,
        Views, forward,
    },
    testing::{FakeClock, Faulty},
};
use cache_memory::Memory;
use tokio::sync::{Semaphore, mpsc};

use crate::support::{KEY, LONG, near};

/// A store that reports what the test tells it.
#[derive(Debug)]
struct Reporting(Faulty, Arc<Stream>);

#[async_trait]
impl Backend for Reporting {
    forward!(Backend, self.0);

    fn views(self: Arc<Self>) -> Views {
        Views::none().with_invalidations(Arc::clone(&self.1) as _)
    }
}

#[derive(Debug)]
struct Stream {
    receivers: mpsc::UnboundedSender<Attempt>,
}

/// A call of `listen`.
struct Attempt {
    namespace: Namespace,
    receiver: InvalidationReceiver,
    end: Arc<(Semaphore, Mutex<ErrorKind>)>,
}

impl Attempt {
    fn end(&self, kind: ErrorKind) {
        *self.end.1.lock().unwrap() = kind;
        self.end.0.add_permits(1);
    }
}

#[async_trait]
impl Invalidations for Stream {
    fn ways(&self) -> &[NearInvalidation] {
        &[NearInvalidation::Tracking]
    }
    async fn listen(&self, namespace: &Namespace, receiver: InvalidationReceiver) -> Error {
        let end = Arc::new((Semaphore::new(0), Mutex::new(ErrorKind::Unavailable)));
        let attempt = Attempt { namespace: namespace.clone(), receiver, end: Arc::clone(&end) };
        self.receivers.send(attempt).unwrap();
        end.0.acquire().await.unwrap().forget();
        let kind = *end.1.lock().unwrap();
        Error::new(kind, "the stream ended")
    }
}

struct World {
    far: Faulty,
    cache: Cache,
    time: FakeClock,
    start: Duration,
    attempts: mpsc::UnboundedReceiver<Attempt>,
}

fn world(invalidation: NearInvalidation) -> World {
    let (receivers, attempts) = mpsc::unbounded_channel();
    let far = Faulty::new(Memory::new());
    let store = Reporting(far.clone(), Arc::new(Stream { receivers }));
    let mut settings = near();
    settings.invalidation = invalidation;
    let time = FakeClock::new();
    let builder = Cache::builder(store).near(settings).key_prefix("shop").clock(time.clock());
    let start = time.clock().now();
    World { far, cache: builder.build("near").unwrap(), time, start, attempts }
}

impl World {
    async fn put(&self, value: &'static str) {
        let key = format!("shop{KEY}");
        assert!(self.far.set(&key, value.into(), LONG, SetMode::Always).await.unwrap());
    }

    async fn get(&self) -> Option<i32> {
        self.cache.get("k").await.unwrap()
    }

    fn near(&self) -> NearStats {
        self.cache.stats().near.unwrap()
    }

    /// Returns the next attempt to listen. The clock moves until it is made.
    async fn attempt(&mut self) -> Attempt {
        let step = Duration::from_millis(10);
        loop {
            match tokio::time::timeout(step, self.attempts.recv()).await {
                Ok(attempt) => return attempt.unwrap(),
                Err(_) => self.time.advance(step * 10),
            }
        }
    }

    /// Returns the stream after it has begun, and the key `k` is near with the value 1.
    async fn open(&mut self) -> Attempt {
        self.put("1").await;
        assert_eq!(self.get().await, Some(1));
        let attempt = self.attempt().await;
        assert_eq!(attempt.namespace.prefix(), "shop");
        (attempt.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
        assert_eq!(self.get().await, Some(1));
        attempt
    }
}

#[tokio::test]
async fn tier_is_bypassed_until_the_stream_begins() {
    let mut world = world(NearInvalidation::Tracking);
    for value in ["1", "2", "3"] {
        world.put(value).await;
        assert_eq!(world.get().await, value.parse().ok());
    }
    let stats = world.near();
    assert_eq!((stats.hits, stats.bypassed, stats.is_bypassed), (0, 3, true));
    let _attempt = world.open().await;
    world.put("2").await;
    assert_eq!(world.get().await, Some(1), "the key is near");
    assert!(!world.near().is_bypassed);
}

#[tokio::test]
async fn message_removes_its_key_and_no_other() {
    let mut world = world(NearInvalidation::Auto);
    let attempt = world.open().await;
    world.put("2").await;
    (attempt.receiver)(Invalidation::Key("shop:1:other"));
    assert_eq!(world.get().await, Some(1), "the key is near");
    (attempt.receiver)(Invalidation::Key("shop:1:k"));
    assert_eq!(world.get().await, Some(2));
    world.put("3").await;
    (attempt.receiver)(Invalidation::All);
    assert_eq!(world.get().await, Some(3));
    let stats = world.near();
    assert_eq!((stats.invalidations, stats.resets), (2, 2));
}

#[tokio::test]
async fn tier_begins_empty_after_the_stream_was_lost() {
    let mut world = world(NearInvalidation::Auto);
    for round in 0..5 {
        let attempt = world.open().await;
        world.put("2").await;
        attempt.end(ErrorKind::Unavailable);
        let next = world.attempt().await;
        assert!(world.near().is_bypassed, "round {round}");
        assert_eq!(world.get().await, Some(2));
        world.put("3").await;
        (next.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
        assert_eq!(world.get().await, Some(3));
        next.end(ErrorKind::Unavailable);
        world.put("1").await;
        let last = world.attempt().await;
        (last.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
        world.cache.close().await.unwrap();
        assert_eq!(Arc::strong_count(&last.end), 1, "the stream has ended");
        assert!(world.near().is_bypassed);
        // A task that was stopped may still run for a moment.
        (last.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
        assert!(world.near().is_bypassed);
    }
}

fn heartbeat(lag: Duration, valid_until: Duration) -> Invalidation<'static> {
    Invalidation::Heartbeat(Heartbeat { lag, valid_until })
}

/// The thread that receives the messages may stand still, or the process.
#[tokio::test]
async fn tier_is_bypassed_when_the_heartbeat_is_too_old() {
    let mut world = world(NearInvalidation::Tracking);
    let (second, lag) = (Duration::from_secs(1), Duration::from_millis(1));
    let clock = world.time.clock();
    world.put("1").await;
    assert_eq!(world.get().await, Some(1));
    let attempt = world.attempt().await;
    let beat = || (attempt.receiver)(heartbeat(lag, clock.now() + second));
    beat();
    assert!(world.near().is_bypassed, "the stream is not open");
    (attempt.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
    assert_eq!(world.get().await, Some(1));
    world.put("2").await;
    for _ in 0..3 {
        world.time.advance(second);
        assert_eq!(world.get().await, Some(1), "the key is near");
        beat();
    }
    world.time.advance(second + Duration::from_nanos(1));
    assert_eq!(world.get().await, Some(2));
    let stats = world.near();
    assert_eq!((stats.bypassed, stats.lag, stats.is_bypassed), (2, None, true));
    (attempt.receiver)(Invalidation::Key("shop:1:k"));
    (attempt.receiver)(heartbeat(lag, world.start));
    assert!(world.near().is_bypassed, "it is too old itself");
    beat();
    let stats = world.near();
    assert_eq!((stats.resets, stats.lag, stats.is_bypassed), (1, Some(lag), false));
    assert_eq!((world.get().await, world.near().misses), (Some(2), 2));
}

/// As a change of another process that was reported, or a write of this one.
#[tokio::test]
async fn changes_while_the_heartbeat_is_too_old_are_seen_afterwards() {
    let mut world = world(NearInvalidation::Tracking);
    let (second, clock) = (Duration::from_secs(1), world.time.clock());
    let attempt = world.open().await;
    let beat = || (attempt.receiver)(heartbeat(Duration::ZERO, clock.now() + second));
    beat();
    world.time.advance(second * 2);
    assert_eq!(world.get().await, Some(1));
    world.cache.set("k", &2, secs(60)).await.unwrap();
    beat();
    assert_eq!(world.get().await, Some(2));
    assert_eq!(world.get().await, Some(2));
    let hits = world.near().hits;
    world.time.advance(second * 2);
    world.put("3").await;
    (attempt.receiver)(Invalidation::Key("shop:1:k"));
    beat();
    assert_eq!((world.get().await, world.near().hits), (Some(3), hits));
}

#[tokio::test]
async fn heartbeat_is_of_one_stream() {
    let mut world = world(NearInvalidation::Auto);
    let (hour, lag) = (Duration::from_secs(3600), Duration::from_millis(1));
    let attempt = world.open().await;
    (attempt.receiver)(heartbeat(lag, world.time.clock().now()));
    attempt.end(ErrorKind::Unavailable);
    let next = world.attempt().await;
    (next.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
    world.time.advance(hour);
    assert!(!world.near().is_bypassed, "this stream has sent none");
    next.end(ErrorKind::Unavailable);
    let refused = world.attempt().await;
    (refused.receiver)(heartbeat(lag, world.time.clock().now()));
    refused.end(ErrorKind::Unsupported);
    world.cache.check().await.unwrap();
    world.time.advance(hour);
    assert!(!world.near().is_bypassed, "the tier is in use without a stream");
}

/// A lag of a stream that has ended says nothing about the next one.
#[tokio::test]
async fn lag_is_that_of_the_open_stream() {
    let mut world = world(NearInvalidation::Auto);
    assert_eq!(world.near().lag, None);
    let attempt = world.open().await;
    assert_eq!(world.near().lag, None, "before the first heartbeat");
    for lag in [Duration::from_millis(3), Duration::from_micros(2)] {
        (attempt.receiver)(heartbeat(lag, Duration::MAX));
        assert_eq!(world.near().lag, Some(lag));
    }
    assert_eq!((world.near().invalidations, world.near().resets), (0, 1));
    attempt.end(ErrorKind::Unavailable);
    let next = world.attempt().await;
    assert_eq!(world.near().lag, None, "bypassed");
    (next.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
    assert_eq!(world.near().lag, None, "before the first heartbeat");
    next.end(ErrorKind::Unavailable);
    let last = world.attempt().await;
    (last.receiver)(heartbeat(Duration::from_millis(1), Duration::MAX));
    last.end(ErrorKind::Unsupported);
    world.cache.check().await.unwrap();
    assert_eq!(world.near().lag, None, "the tier is in use without a stream");
}

#[tokio::test]
async fn refused_stream_leaves_the_timeout_if_the_settings_allow_it() {
    let mut auto = world(NearInvalidation::Auto);
    auto.put("1").await;
    assert_eq!(auto.get().await, Some(1));
    auto.attempt().await.end(ErrorKind::Unsupported);
    auto.cache.check().await.unwrap();
    let stats = auto.near();
    assert_eq!((stats.invalidation, stats.is_bypassed), (NearInvalidation::None, false));

    let mut strict = world(NearInvalidation::Tracking);
    let cache = strict.cache.clone();
    let check = tokio::spawn(async move { cache.check().await });
    strict.attempt().await.end(ErrorKind::Unsupported);
    assert_eq!(check.await.unwrap().unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(strict.near().is_bypassed);
    // It tries again.
    let attempt = strict.attempt().await;
    (attempt.receiver)(Invalidation::Ready(NearInvalidation::Tracking));
    strict.cache.check().await.unwrap();
}

/// A read that the far store answered before a change whose message arrives first.
#[tokio::test]
async fn message_during_a_read_keeps_its_answer_out() {
    let mut world = world(NearInvalidation::Tracking);
    let attempt = world.open().await;
    (attempt.receiver)(Invalidation::Key("shop:1:k"));
    let messages: [fn(&Attempt); 3] = [
        |it| (it.receiver)(Invalidation::Key("shop:1:k")),
        |it| (it.receiver)(Invalidation::All),
        |it| (it.receiver)(Invalidation::Ready(NearInvalidation::Tracking)),
    ];
    for (value, message) in ["2", "3", "4"].into_iter().zip(messages) {
        let held = world.far.hold(Operation::Get);
        let (cache, arrived) = (world.cache.clone(), world.far.calls(Operation::Get));
        let read = tokio::spawn(async move { cache.get::<i32>("k").await.unwrap() });
        world.far.arrived(Operation::Get, arrived + 1).await;
        message(&attempt);
        drop(held);
        read.await.unwrap();
        world.put(value).await;
        assert_eq!(world.get().await, value.parse().ok());
        message(&attempt);
    }
}

/// A store that is made of this one has keys of its own.
#[tokio::test]
async fn key_outside_of_the_stream_is_not_kept() {
    let mut world = world(NearInvalidation::Tracking);
    let _attempt = world.open().await;
    let whole = std::sync::Arc::clone(world.cache.backend());
    for value in ["1", "2"] {
        for key in ["whole:1:k", "shopping:1:k", "k"] {
            assert!(world.far.set(key, value.into(), LONG, SetMode::Always).await.unwrap());
            assert_eq!(whole.get(key).await.unwrap().unwrap(), value, "{key}");
            let entries = whole.get_entries(&[key]).await.remove(0).unwrap();
            assert_eq!(entries.unwrap().value, value, "{key}");
        }
    }
    assert_eq!(world.near().hits, 0);
    assert_eq!((world.get().await, world.near().hits), (Some(1), 1), "its own keys are near");
}

#[tokio::test]
async fn task_ends_with_the_cache() {
    let mut world = world(NearInvalidation::Tracking);
    let attempt = world.open().await;
    drop(world.cache);
    drop(attempt);
    // All senders were dropped: the store, its stream and the task.
    let ended = tokio::time::timeout(Duration::from_secs(60), world.attempts.recv()).await;
    assert!(ended.expect("the task ended").is_none());
}
