//! The conformance suite, for memory on a bus and for a cache over it.

use std::sync::Arc;

use cache_conformance::{Harness, run_backend, run_cache};
use cache_core::{Caches, Clock, store::Backend, testing::FakeClock};

use crate::{
    hub::{self, Hub},
    support::PATIENT,
};

/// Memory on a bus without another process. The first write waits for the stream, as long as the
/// deadlines allow.
fn store(clock: Clock) -> Arc<dyn Backend> {
    let hub = Hub::new();
    let text = format!("[caches.default]\nbackend = 'memory'\nbus = '{}'\n{PATIENT}", hub.url);
    let builder = Caches::builder().driver(hub::DRIVER).clock(clock).toml(&text).unwrap();
    Arc::clone(builder.build().unwrap().get("default").unwrap().backend())
}

fn with_fake_clock() -> Harness {
    let time = FakeClock::new();
    let clock = time.clock();
    Harness::new("bus", move || store(clock.clone())).clock(time).may_clear_store()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms() {
    run_backend(with_fake_clock()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn store_conforms_with_the_system_clock() {
    run_backend(Harness::new("bus", || store(Clock::system())).may_clear_store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_over_the_store_conforms() {
    run_cache(with_fake_clock()).await;
}
