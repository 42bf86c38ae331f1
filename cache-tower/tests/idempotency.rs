//! The layer of idempotency keys in an axum service, over real connections.

#![cfg(feature = "idempotency")]

mod http;
mod payments;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::post};
use cache_core::{
    Cache, ErrorKind,
    testing::{FakeClock, Fault, Faulty},
};
use cache_memory::Memory;
use tokio::sync::Barrier;

use self::{
    http::send,
    payments::{Payments, head, layer, pay},
};

fn memory() -> Cache {
    Cache::new("test", Memory::new())
}

#[tokio::test]
async fn repetition_gets_the_first_response_and_is_not_executed() {
    let payments = Payments::open();
    let to = payments.serve(layer(&memory()).keep_header("x-request-id".parse().unwrap())).await;
    let secret = format!("{}x-secret: id=1\r\n", head("POST /pay/201", "ada", "k"));
    let first = send(to, &secret, "100 EUR").await;
    assert_eq!((first.status, first.body.as_str()), (201, "1: 100 EUR"));
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(first.header("set-cookie"), "id=1");
    for _ in 0..3 {
        let again = send(to, &secret, "100 EUR").await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.header("location"), "/payments/1");
        assert_eq!(again.header("x-request-id"), "1");
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.header("set-cookie"), "", "a header that is not kept");
    }
    assert_eq!(payments.runs(), 1);
    assert_eq!(pay(to, "other", "100 EUR").await.body, "2: 100 EUR");
}

#[tokio::test]
async fn keys_of_two_principals_are_two_keys() {
    let payments = Payments::open();
    let to = payments.serve(layer(&memory())).await;
    assert_eq!(send(to, &head("POST /pay/200", "ada", "k"), "").await.body, "1: ");
    assert_eq!(send(to, &head("POST /pay/200", "bob", "k"), "").await.body, "2: ");
    let reply = send(to, "POST /pay/200\r\nidempotency-key: \"k\"\r\n", "").await;
    assert_eq!((reply.status, payments.runs()), (500, 2), "no sender, no execution");
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let payments = Payments::open();
    let to = payments.serve(layer(&memory())).await;
    assert_eq!(pay(to, "k", "100").await.status, 201);
    for (line, body) in [
        ("POST /pay/201", "101"),
        ("POST /pay/201?x", "100"),
        ("POST /pay/202", "100"),
        ("PATCH /pay/201", "100"),
    ] {
        let reply = send(to, &head(line, "ada", "k"), body).await;
        assert_eq!(reply.status, 422, "{line} {body}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert!(
            reply.body.contains("\"title\":\"Idempotency-Key is already used\""),
            "{}",
            reply.body
        );
    }
    assert_eq!(payments.runs(), 1);
}

#[tokio::test]
async fn missing_or_invalid_key_is_refused_where_it_is_required() {
    let payments = Payments::open();
    let optional = payments.serve(layer(&memory())).await;
    let required = payments.serve(layer(&memory()).required()).await;
    let no_key = "POST /pay/200\r\nx-user: ada\r\n";
    assert_eq!(send(optional, no_key, "").await.status, 200);
    let missing = send(required, no_key, "").await;
    assert_eq!(missing.status, 400);
    assert!(missing.body.contains("\"title\":\"Idempotency-Key is missing\""), "{}", missing.body);
    for to in [optional, required] {
        let invalid = send(to, &format!("{no_key}idempotency-key: no-quotes\r\n"), "").await;
        assert_eq!(invalid.status, 400);
        assert!(invalid.body.contains("Idempotency-Key is invalid"), "{}", invalid.body);
    }
    assert_eq!(payments.runs(), 1);
    // Methods that are idempotent by themselves.
    for method in ["GET", "PUT"] {
        for _ in 0..2 {
            let reply = send(required, &head(&format!("{method} /pay/200"), "ada", "k"), "").await;
            assert_eq!((reply.status, reply.header("idempotent-replayed").as_str()), (200, ""));
        }
    }
    assert_eq!(payments.runs(), 5);
}

#[tokio::test]
async fn repetition_during_the_execution_is_a_conflict_or_waits() {
    let payments = Payments::closed();
    let cache = memory();
    let impatient = payments.serve(layer(&cache)).await;
    let patient = payments.serve(layer(&cache).wait(Duration::from_secs(60))).await;
    let first = tokio::spawn(pay(impatient, "k", "x"));
    payments.began.notified().await;
    let conflict = pay(impatient, "k", "x").await;
    assert_eq!((conflict.status, conflict.header("retry-after").as_str()), (409, "1"));
    assert!(conflict.body.contains("A request is outstanding"), "{}", conflict.body);
    assert_eq!(pay(impatient, "k", "y").await.status, 422, "also while it is executed");
    let second = tokio::spawn(pay(patient, "k", "x"));
    payments.gate.add_permits(1);
    assert_eq!(first.await.unwrap().body, "1: x");
    assert_eq!(second.await.unwrap().body, "1: x");
    assert_eq!(payments.runs(), 1);
}

#[tokio::test]
async fn errors_are_replayed_except_those_that_ask_for_a_repetition() {
    let payments = Payments::open();
    let to = payments.serve(layer(&memory())).await;
    for status in [400, 404, 500, 502] {
        let line = format!("POST /pay/{status}");
        for replayed in ["", "true"] {
            let reply = send(to, &head(&line, "ada", &line), "").await;
            assert_eq!(reply.status, status);
            assert_eq!(reply.header("idempotent-replayed"), replayed, "{status}");
        }
    }
    let runs = payments.runs();
    for status in [429, 503, 429, 503] {
        let line = format!("POST /pay/{status}");
        let reply = send(to, &head(&line, "ada", &line), "").await;
        assert_eq!((reply.status, reply.header("idempotent-replayed").as_str()), (status, ""));
    }
    assert_eq!(payments.runs(), runs + 4);
    let to = payments.serve(layer(&memory()).store_if(|it| it.is_success())).await;
    for _ in 0..2 {
        let reply = send(to, &head("POST /pay/400", "ada", "k"), "").await;
        assert_eq!(reply.header("idempotent-replayed"), "");
    }
}

#[tokio::test]
async fn large_bodies_are_bounded_and_a_large_response_is_not_executed_again() {
    let small = Memory::builder().max_value_bytes(200).build().unwrap();
    let small = layer(&Cache::new("test", small));
    for layer in [layer(&memory()).max_response(50), small] {
        let payments = Payments::open();
        let to = payments.serve(layer.max_request(100)).await;
        assert_eq!(pay(to, "a", &"x".repeat(101)).await.status, 413);
        assert_eq!(payments.runs(), 0);
        let body = "x".repeat(100);
        assert_eq!(pay(to, "b", &body).await.body, format!("1: {body}"));
        let again = pay(to, "b", &body).await;
        assert_eq!((again.status, payments.runs()), (500, 1));
        assert!(again.body.contains("The response was not kept"), "{}", again.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_requests_with_one_key_are_executed_once() {
    const REQUESTS: usize = 1000;
    let payments = Payments::open();
    let to = payments.serve(layer(&memory()).wait(Duration::from_secs(60))).await;
    let start = Arc::new(Barrier::new(REQUESTS));
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                pay(to, "k", "x").await
            })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().body, "1: x");
    }
    assert_eq!(payments.runs(), 1);
}

fn on_clock(time: &FakeClock) -> Cache {
    let store = Memory::builder().clock(time.clock()).build().unwrap();
    Cache::builder(store).clock(time.clock()).build("test").unwrap()
}

#[tokio::test]
async fn execution_keeps_its_key_for_longer_than_a_lease() {
    let time = FakeClock::new();
    let payments = Payments::closed();
    let to = payments.serve(layer(&on_clock(&time)).lease(Duration::from_secs(30))).await;
    let first = tokio::spawn(pay(to, "k", "x"));
    payments.began.notified().await;
    for turn in 0..10 {
        time.sleepers(1).await;
        time.advance(Duration::from_secs(10));
        assert_eq!(pay(to, "k", "x").await.status, 409, "after {turn} renewals");
    }
    payments.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status, 201);
    time.advance(Duration::from_secs(86_399));
    assert_eq!(pay(to, "k", "x").await.header("idempotent-replayed"), "true");
    time.advance(Duration::from_secs(1));
    payments.gate.add_permits(1);
    assert_eq!(pay(to, "k", "x").await.body, "2: x", "the lifetime has ended");
}

#[tokio::test]
async fn panic_frees_the_key_after_the_lease() {
    let time = FakeClock::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let panics = async move || {
        assert!(counted.fetch_add(1, SeqCst) > 0, "the first run panics");
        "done"
    };
    let layer = layer(&on_clock(&time)).lease(Duration::from_secs(30));
    let app = Router::new().route("/", post(panics)).layer(layer);
    let request = || {
        use tower::ServiceExt as _;
        let request = axum::http::Request::post("/").header("x-user", "ada");
        let request = request.header("idempotency-key", "\"k\"").body(axum::body::Body::empty());
        app.clone().oneshot(request.unwrap())
    };
    assert!(tokio::spawn(request()).await.unwrap_err().is_panic());
    assert_eq!(request().await.unwrap().status(), StatusCode::CONFLICT);
    time.advance(Duration::from_secs(30));
    assert_eq!(request().await.unwrap().status(), StatusCode::OK);
    assert_eq!(runs.load(SeqCst), 2);
}

#[tokio::test]
async fn store_that_fails_refuses_requests_unless_the_layer_is_told_to_run_them() {
    let store = Faulty::new(Memory::new());
    let cache = Cache::builder(store.clone()).build("test").unwrap();
    let payments = Payments::open();
    let strict = payments.serve(layer(&cache)).await;
    let running = payments.serve(layer(&cache).run_on_failure()).await;
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let refused = pay(strict, "k", "x").await;
    assert_eq!((refused.status, refused.header("retry-after").as_str()), (503, "1"));
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(payments.runs(), 0);
    for run in 1..3 {
        assert_eq!(pay(running, "k", "x").await.body, format!("{run}: x"));
    }
    store.heal();
    assert_eq!(pay(strict, "k", "x").await.body, "3: x");
}

/// The store fails during the execution, and returns within the lease.
#[tokio::test]
async fn response_is_stored_when_the_store_returns() {
    let time = FakeClock::new();
    let store = Faulty::new(Memory::builder().clock(time.clock()).build().unwrap());
    let cache = Cache::builder(store.clone()).clock(time.clock()).build("test").unwrap();
    let payments = Payments::closed();
    let to = payments.serve(layer(&cache)).await;
    let first = tokio::spawn(pay(to, "k", "x"));
    payments.began.notified().await;
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    payments.gate.add_permits(1);
    assert_eq!(first.await.unwrap().body, "1: x", "the outage does not change the response");
    store.heal();
    while pay(to, "k", "x").await.status == 409 {
        time.advance(Duration::from_secs(1));
    }
    let again = pay(to, "k", "x").await;
    assert_eq!((again.body.as_str(), payments.runs()), ("1: x", 1));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killed_server_refuses_requests_and_a_key_of_redis_is_executed_once() {
    use cache_core::Caches;
    use cache_redis as _;
    use test_servers::Server as _;

    let server = test_servers::Redis::start().unwrap();
    // A machine that is slow refuses no request.
    let settings = format!(
        "[caches.default]\nbackend = 'redis'\nlocation = '{}'\ndeadline = '20s'\n\
         connect_deadline = '20s'\nbreaker.enabled = false",
        server.url()
    );
    let payments = Payments::open();
    let mut services = Vec::new();
    for _ in 0..2 {
        let caches = Caches::from_toml(&settings).unwrap();
        let layer = layer(caches.get("default").unwrap()).wait(Duration::from_secs(60));
        services.push(payments.serve(layer).await);
    }
    for round in 0..20 {
        let key = format!("k{round}");
        let requests: Vec<_> = (0..10)
            .map(|i| {
                let (to, key) = (services[i % 2], key.clone());
                tokio::spawn(async move { pay(to, &key, "x").await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap().body, format!("{}: x", round + 1));
        }
    }
    server.kill();
    assert_eq!(pay(services[0], "new", "x").await.status, 503);
    assert_eq!(pay(services[1], "k0", "x").await.status, 503);
    assert_eq!(payments.runs(), 20);
}
