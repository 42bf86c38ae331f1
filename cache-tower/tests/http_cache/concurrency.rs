//! Many requests at once, clients that leave, handlers that fail, and stores that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use cache_core::{
    Cache, ErrorKind,
    layer::Operation,
    testing::{FakeClock, Fault, Faulty},
};
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use http_body_util::BodyExt;
use tokio::{sync::Semaphore, task::JoinSet};
use tower_service::Service;

const MANY: usize = 1000;

/// A handler that waits until it may go on, and counts its calls.
#[derive(Clone)]
struct Gate {
    calls: Arc<AtomicUsize>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { calls: Arc::default(), open: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) -> usize {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.acquire().await.unwrap().forget();
        number
    }

    fn open(&self, calls: usize) {
        self.open.add_permits(calls);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn until_calls(&self, calls: usize) {
        while self.calls() < calls {
            tokio::task::yield_now().await;
        }
    }

    fn router(&self, control: &'static str, http_cache: &HttpCache) -> Router {
        let gate = self.clone();
        let handler = get(async move |request: Request| {
            let number = gate.pass().await.to_string();
            let language = request.headers().get("accept-language").cloned();
            let mut response = ([("cache-control", control)], number).into_response();
            if let Some(language) = language {
                response.headers_mut().insert("vary", "accept-language".parse().unwrap());
                response.headers_mut().insert("content-language", language);
            }
            response
        });
        Router::new().fallback(handler).layer(http_cache.layer())
    }
}

fn request(language: Option<&str>) -> Request {
    let mut request = Request::builder().uri("/").header("host", "a");
    if let Some(language) = language {
        request = request.header("accept-language", language);
    }
    request.body(Body::empty()).unwrap()
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn send(mut router: Router, request: Request) -> Response {
    router.call(request).await.unwrap()
}

/// Sends many requests, and waits until all of them wait.
async fn send_many(router: &Router, languages: &[Option<&'static str>]) -> JoinSet<Response> {
    let mut sent = JoinSet::new();
    for number in 0..MANY {
        let request = request(languages[number % languages.len()]);
        sent.spawn(send(router.clone(), request));
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    sent
}

fn memory() -> Cache {
    Cache::new("pages", Memory::new())
}

#[tokio::test]
async fn thousand_requests_make_one_call() {
    let gate = Gate::new();
    let router = gate.router("max-age=60", &HttpCache::new(&memory()));
    let sent = send_many(&router, &[None]).await;
    gate.open(MANY);
    for response in sent.join_all().await {
        assert_eq!(text(response).await, "1");
    }
    assert_eq!(gate.calls(), 1);
}

#[tokio::test]
async fn thousand_requests_make_one_call_for_each_variant() {
    let gate = Gate::new();
    let router = gate.router("max-age=60", &HttpCache::new(&memory()));
    let languages = [Some("de"), Some("en"), Some("fr")];
    let sent = send_many(&router, &languages).await;
    gate.open(MANY);
    for response in sent.join_all().await {
        assert_eq!(response.status(), 200);
    }
    // The first response was of the URL, before it was known that the URL has variants.
    assert!(gate.calls() <= languages.len() + 1, "{} calls", gate.calls());
    for language in languages {
        let response = send(router.clone(), request(language)).await;
        assert_eq!(response.headers()["content-language"], language.unwrap());
    }
}

#[tokio::test]
async fn requests_whose_response_is_not_stored_run_at_once() {
    for control in ["no-store", "private", "max-age=0"] {
        let gate = Gate::new();
        let router = gate.router(control, &HttpCache::new(&memory()));
        let sent = send_many(&router, &[None]).await;
        assert_eq!(gate.calls(), 1, "the others wait for the first response");
        gate.open(1);
        // All others run at the same time: none has to end before another one begins.
        gate.until_calls(MANY).await;
        gate.open(MANY);
        assert_eq!(sent.join_all().await.len(), MANY);
        // Later ones do not wait for each other.
        let sent = send_many(&router, &[None]).await;
        gate.until_calls(2 * MANY).await;
        gate.open(MANY);
        assert_eq!(sent.join_all().await.len(), MANY);
    }
}

#[tokio::test]
async fn first_client_that_leaves_does_not_end_the_call_for_others() {
    let gate = Gate::new();
    let router = gate.router("max-age=60", &HttpCache::new(&memory()));
    let first = tokio::spawn(send(router.clone(), request(None)));
    gate.until_calls(1).await;
    let others = send_many(&router, &[None]).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.open(MANY);
    for response in others.join_all().await {
        assert_eq!(text(response).await, "1");
    }
}

#[tokio::test]
async fn call_ends_when_all_clients_have_left() {
    let gate = Gate::new();
    let router = gate.router("max-age=60", &HttpCache::new(&memory()));
    let only = tokio::spawn(send(router.clone(), request(None)));
    gate.until_calls(1).await;
    only.abort();
    only.await.unwrap_err();
    // The handler's turn was dropped, so the next request needs one permit.
    let next = tokio::spawn(send(router.clone(), request(None)));
    gate.until_calls(2).await;
    gate.open(1);
    assert_eq!(text(next.await.unwrap()).await, "2");
}

#[tokio::test]
async fn failed_store_lets_every_request_through() {
    let store = Faulty::new(Memory::new());
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for cache in [Cache::new("pages", store.clone()), Cache::new("pages", store.clone()).strict()] {
        let gate = Gate::new();
        let router = gate.router("max-age=60", &HttpCache::new(&cache));
        gate.open(MANY);
        for number in 1..=3 {
            let response = send(router.clone(), request(None)).await;
            assert!(!status(&response).contains("stored"), "{response:?}");
            assert_eq!(
                (response.status().as_u16(), text(response).await),
                (200, number.to_string())
            );
        }
    }
}

fn status(response: &Response) -> &str {
    response.headers()["cache-status"].to_str().unwrap()
}

#[tokio::test]
async fn response_is_called_stored_only_if_the_store_has_taken_it() {
    let store = Faulty::new(Memory::new());
    let cache = Cache::new("pages", store.clone());
    // Its time stands still, so the remaining lifetime in a status is exact.
    let time = FakeClock::new();
    let (gate, http_cache) = (Gate::new(), HttpCache::new(&cache).clock(time.clock()));
    let router = gate.router("max-age=60", &http_cache);

    let removed = tokio::spawn(send(router.clone(), request(None)));
    gate.until_calls(1).await;
    http_cache.purge("http://a/").await.unwrap();
    gate.open(1);
    assert_eq!(status(&removed.await.unwrap()), "pages; fwd=uri-miss", "removed during the load");

    gate.open(2);
    store.inject(|call| match call.operation {
        Operation::Set => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    let unwritten = send(router.clone(), request(None)).await;
    assert_eq!(status(&unwritten), "pages; fwd=uri-miss", "the write failed");
    store.heal();
    let stored = send(router.clone(), request(None)).await;
    assert_eq!(status(&stored), "pages; fwd=uri-miss; stored");
    assert_eq!(status(&send(router, request(None)).await), "pages; hit; ttl=60");
}

#[tokio::test]
async fn handler_that_takes_longer_than_a_load_may_answers_its_client() {
    let cache =
        Cache::builder(Memory::new()).load_deadline(Duration::from_millis(50)).build("pages");
    let gate = Gate::new();
    let router = gate.router("max-age=60", &HttpCache::new(&cache.unwrap()));
    let first = tokio::spawn(send(router.clone(), request(None)));
    gate.until_calls(1).await;
    let second = tokio::spawn(send(router.clone(), request(None)));
    // The second one calls the handler itself when the load has ended by its deadline.
    gate.until_calls(2).await;
    gate.open(2);
    let first = first.await.unwrap();
    assert!(!status(&first).contains("stored"), "{first:?}");
    assert_eq!(text(first).await, "1");
    assert_eq!(text(second.await.unwrap()).await, "2");
}

#[tokio::test]
async fn panic_of_the_handler_reaches_its_request_only() {
    let panics = any(async |request: Request| {
        assert!(request.uri().path() != "/panic", "no such page");
        [("cache-control", "max-age=60")]
    });
    let layer = HttpCache::new(&memory()).layer();
    let router = Router::new().fallback(panics).layer(layer);
    let request =
        |method, path| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    for method in ["GET", "GET", "POST"] {
        let sent = tokio::spawn(send(router.clone(), request(method, "/panic")));
        let panicked = sent.await.unwrap_err();
        assert_eq!(panicked.into_panic().downcast_ref(), Some(&"no such page"));
    }
    assert_eq!(send(router, request("GET", "/")).await.status(), 200);
}

#[tokio::test]
async fn layer_inside_of_a_layer_does_not_wait_for_itself() {
    let cache = memory();
    let gate = Gate::new();
    gate.open(9);
    let inner = HttpCache::new(&cache).default_ttl(Duration::from_secs(60));
    let router = gate.router("public", &inner).layer(HttpCache::new(&cache).layer());
    for _ in 0..2 {
        assert_eq!(text(send(router.clone(), request(None)).await).await, "1");
    }
}
