//! Bugs around a store: of dropped calls, of runtimes, and of the clock.

use std::{
    any::Any,
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock},
    task::Waker,
    time::{Duration, SystemTime},
};

use cache_conformance::{Harness, backend_report};
use cache_core::{
    Clock, Error, ErrorKind, TimeSource,
    layer::{Call, Layer, Layered, Reply},
    store::Inline,
    testing::{FakeClock, Model},
};

/// Checks that a store with this layer fails these tests.
pub(crate) async fn assert_fails<H: Layer>(layer: fn() -> H, tests: &[&str]) {
    let open = move || {
        Arc::new(Layered::new(Arc::new(layer()), Arc::new(Inline::new(Model::default())))) as _
    };
    let report = backend_report(Harness::new("layered", open).only(tests)).await;
    assert_eq!(report.failed(), tests);
}

pub(crate) const DESYNCHRONISED: [&str; 3] = [
    "dropped_read_disturbs_no_other_call",
    "dropped_write_disturbs_no_other_call",
    "concurrent_dropped_calls_disturb_no_other_call",
];

/// All calls share one connection, and the reply to a dropped call goes to the next one.
#[derive(Debug, Default)]
struct Desynchronised {
    answers: Mutex<VecDeque<Box<dyn Any + Send>>>,
}

impl Layer for Desynchronised {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let answer = run().await;
        self.answers.lock().unwrap().push_back(Box::new(answer));
        tokio::task::yield_now().await; // here a call can be dropped
        let next = self.answers.lock().unwrap().pop_front();
        let next = next.and_then(|it| it.downcast::<R>().ok());
        next.map_or_else(
            || R::failed(&call, Error::new(ErrorKind::Backend, "reply of another type")),
            |it| *it,
        )
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reply_to_a_dropped_call_that_reaches_the_next_call_is_found() {
    assert_fails(Desynchronised::default, &DESYNCHRONISED).await;
}

pub(crate) const COUNTED_TWICE: [&str; 1] = ["dropped_increment_counts_at_most_once"];

/// Runs each call twice.
#[derive(Debug)]
struct Twice;

impl Layer for Twice {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        _: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        run().await;
        run().await
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increment_that_counts_twice_is_found() {
    assert_fails(|| Twice, &COUNTED_TWICE).await;
}

pub(crate) const ONE_RUNTIME: [&str; 1] = ["store_works_from_two_runtimes"];

/// Works only in the runtime that called it first, as a connection does.
#[derive(Debug, Default)]
struct OneRuntime(OnceLock<tokio::runtime::Id>);

impl Layer for OneRuntime {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let here = tokio::runtime::Handle::current().id();
        if *self.0.get_or_init(|| here) == here {
            return run().await;
        }
        R::failed(&call, Error::new(ErrorKind::Unavailable, "a socket of another runtime"))
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_of_one_runtime_is_found() {
    assert_fails(OneRuntime::default, &ONE_RUNTIME).await;
}

pub(crate) const BY_THE_WALL: [&str; 1] = ["wall_clock_step_changes_no_lifetime"];

/// A clock whose monotonic time is the wall-clock time.
struct Wall(Clock);

impl TimeSource for Wall {
    fn now(&self) -> Duration {
        self.0.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
    fn wake_at(&self, _: Duration, _: &Waker) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_that_follows_the_wall_clock_is_found() {
    let time = FakeClock::new();
    let clock = time.clock();
    let open =
        move || Arc::new(Inline::new(Model::new(Clock::from_source(Wall(clock.clone()))))) as _;
    let harness = Harness::new("wall", open).clock(time).only(&BY_THE_WALL);
    assert_eq!(backend_report(harness).await.failed(), BY_THE_WALL);
}
