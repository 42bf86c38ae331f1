//! Calls that wait for a worker thread of the store.

#![allow(missing_docs)]

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, Result,
    layer::{BreakerState, Call, Layer, Layered, Reply},
    store::{Inline, Threads},
    testing::{FakeClock, Faulty, Model},
};
use tokio::{sync::Semaphore, task::JoinHandle};

/// A store with one thread. Each read of the key `slow` occupies the thread until the test
/// releases it.
#[derive(Debug)]
struct OneThread {
    threads: Threads,
    begun: Arc<Semaphore>,
    gate: Arc<Mutex<Receiver<()>>>,
}

impl Layer for OneThread {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let is_slow = call.key.is_some_and(|it| it.ends_with("slow"));
        let (begun, gate) = (Arc::clone(&self.begun), Arc::clone(&self.gate));
        let wait = move || {
            if is_slow {
                begun.add_permits(1);
                gate.lock().unwrap().recv().unwrap();
            }
        };
        self.threads.run(wait).await.unwrap();
        pin!(run()).await
    }

    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

struct World {
    time: FakeClock,
    cache: Cache,
    begun: Arc<Semaphore>,
    gate: Sender<()>,
}

impl World {
    fn new() -> Self {
        let (time, begun) = (FakeClock::new(), Arc::new(Semaphore::new(0)));
        let (gate, receiver) = channel();
        let layer = OneThread {
            threads: Threads::new("test", 1),
            begun: Arc::clone(&begun),
            gate: Arc::new(Mutex::new(receiver)),
        };
        let model = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
        let store = Arc::new(Layered::new(Arc::new(layer), Arc::new(model)));
        let cache = Cache::builder(store).clock(time.clock()).build("test").unwrap();
        Self { time, cache: cache.strict(), begun, gate }
    }

    fn read(&self, key: &'static str) -> JoinHandle<Result<Option<u32>>> {
        let cache = self.cache.clone();
        tokio::spawn(async move { cache.get(key).await })
    }

    /// Waits until a read of the slow key occupies the thread.
    async fn has_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }

    /// Waits until all spawned calls wait for the thread.
    async fn are_queued(&self) {
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }

    fn breaker(&self) -> Option<BreakerState> {
        self.cache.stats().breaker
    }
}

#[tokio::test]
async fn calls_that_wait_for_a_thread_that_serves_others_do_not_open_the_breaker() {
    let world = World::new();
    for round in 0..10 {
        let slow = world.read("slow");
        world.has_begun().await;
        let answered = world.read("other");
        let too_slow = world.read("slow");
        let behind: Vec<_> = (0..5).map(|_| world.read("other")).collect();
        world.are_queued().await;
        world.gate.send(()).unwrap();
        world.has_begun().await;
        assert_eq!(slow.await.unwrap().unwrap(), None);
        assert_eq!(answered.await.unwrap().unwrap(), None);
        world.time.advance(Duration::from_millis(500));
        assert_eq!(too_slow.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        for call in behind {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(error.to_string().contains("no thread was free"), "{error}");
        }
        assert_eq!(world.breaker(), Some(BreakerState::Closed), "round {round}");
        world.gate.send(()).unwrap();
    }
    assert_eq!(world.cache.get::<u32>("other").await.unwrap(), None);
}

/// After an unanswered call, the next calls have a fifth of the deadline.
#[tokio::test]
async fn calls_that_wait_for_a_busy_thread_after_a_timeout_do_not_open_the_breaker() {
    let world = World::new();
    let unanswered = world.read("slow");
    world.has_begun().await;
    world.time.advance(Duration::from_millis(500));
    assert!(unanswered.await.unwrap().is_err());
    let slow = world.read("slow");
    let too_slow = world.read("slow");
    let behind: Vec<_> = (0..5).map(|_| world.read("other")).collect();
    world.are_queued().await;
    world.gate.send(()).unwrap();
    world.has_begun().await;
    world.gate.send(()).unwrap();
    world.has_begun().await;
    assert_eq!(slow.await.unwrap().unwrap(), None);
    world.time.advance(Duration::from_millis(100));
    assert!(too_slow.await.unwrap().is_err());
    for call in behind {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
    assert_eq!(world.breaker(), Some(BreakerState::Closed));
    world.gate.send(()).unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_a_hung_thread_open_the_breaker() {
    let world = World::new();
    let slow = world.read("slow");
    world.has_begun().await;
    let behind: Vec<_> = (0..5).map(|_| world.read("other")).collect();
    world.are_queued().await;
    world.time.advance(Duration::from_millis(500));
    for call in behind.into_iter().chain([slow]) {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
    assert_eq!(world.breaker(), Some(BreakerState::Open));
    world.gate.send(()).unwrap();
}
