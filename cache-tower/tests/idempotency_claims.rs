//! An execution keeps its key and its response, whatever its client and its clock do.

#![cfg(feature = "idempotency")]

mod http;
mod payments;

use std::{sync::Arc, time::Duration};

use axum::{extract::Request, middleware::Next};
use cache_core::{Cache, store::IntoBackend as _, testing::FakeClock};
use cache_memory::Memory;
use tokio::sync::Notify;

use self::{
    http::{send_and_hang_up, serve},
    payments::{Payments, head, layer, pay},
};

/// Notifies when the future of a request ends or is dropped.
struct Ended(Arc<Notify>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn client_that_disconnects_does_not_end_the_execution() {
    let payments = Payments::closed();
    let cache = Cache::new("test", Memory::new());
    let ended = Arc::new(Notify::new());
    let tell = Arc::clone(&ended);
    let outer = axum::middleware::from_fn(move |request: Request, next: Next| {
        let ended = Ended(Arc::clone(&tell));
        async move {
            let _ended = ended;
            next.run(request).await
        }
    });
    let layer = layer(&cache).wait(Duration::from_secs(60));
    let to = serve(payments.router().layer(layer).layer(outer)).await;
    let head = head("POST /pay/201", "ada", "k");
    send_and_hang_up(to, &head, "x", payments.began.notified()).await;
    // The server has dropped the future of the request.
    ended.notified().await;
    payments.gate.add_permits(1);
    let again = pay(to, "k", "x").await;
    assert_eq!((again.body.as_str(), payments.runs()), ("1: x", 1));
}

/// A process that is paused for longer than its lease: its clock stands still.
#[tokio::test]
async fn execution_that_lost_its_lease_does_not_replace_the_response_of_its_successor() {
    let store_time = FakeClock::new();
    let store = Memory::builder().clock(store_time.clock()).build().unwrap().into_backend();
    let cache =
        |time: FakeClock| Cache::builder(store.clone()).clock(time.clock()).build("test").unwrap();
    let (paused, running) = (Payments::closed(), Payments::open());
    let to_paused = paused.serve(layer(&cache(FakeClock::new()))).await;
    let to_running = running.serve(layer(&cache(FakeClock::new()))).await;
    assert_eq!(pay(to_running, "other", "x").await.body, "1: x");

    let first = tokio::spawn(pay(to_paused, "k", "x"));
    paused.began.notified().await;
    assert_eq!(pay(to_running, "k", "x").await.status, 409);
    store_time.advance(Duration::from_secs(30));
    assert_eq!(pay(to_running, "k", "x").await.body, "2: x");
    paused.gate.add_permits(1);
    assert_eq!(first.await.unwrap().body, "1: x");
    for to in [to_running, to_paused] {
        let again = pay(to, "k", "x").await;
        assert_eq!(
            (again.body.as_str(), again.header("idempotent-replayed").as_str()),
            ("2: x", "true")
        );
    }
}
