//! Clients that leave before the response to a request that changes something.

use std::{
    net::SocketAddr,
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
    middleware::{self, Next},
    routing::{get, post},
};
use cache_core::Cache;
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tower_service::Service;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const POST: &str = "POST /a HTTP/1.1\r\nhost: a\r\nidempotency-key: \"1\"\r\n\
    content-length: 0\r\n\r\n";

/// A page, and a form that changes it between two gates.
#[derive(Clone)]
struct Page {
    version: Arc<AtomicUsize>,
    entered: Arc<Semaphore>,
    gate: Arc<Semaphore>,
    /// A request ended, or was dropped.
    left: Arc<Semaphore>,
}

/// Tells when the future of a request was dropped.
struct Left(Arc<Semaphore>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl Page {
    fn new() -> Self {
        let semaphore = || Arc::new(Semaphore::new(0));
        let (entered, gate, left) = (semaphore(), semaphore(), semaphore());
        Self { version: Arc::new(AtomicUsize::new(1)), entered, gate, left }
    }

    fn router(&self) -> Router {
        let (shown, page) = (Arc::clone(&self.version), self.clone());
        let show = async move || ([FRESH], shown.load(Ordering::SeqCst).to_string());
        let change = async move || {
            page.entered.add_permits(1);
            page.gate.acquire().await.unwrap().forget();
            page.version.fetch_add(1, Ordering::SeqCst);
        };
        Router::new().route("/a", get(show).post(change))
    }

    /// Serves a router in the cache, with a watch on its requests outside.
    async fn serve(&self, router: Router) -> SocketAddr {
        let left = Arc::clone(&self.left);
        let watch = middleware::from_fn(move |request: Request, next: Next| {
            let left = Left(Arc::clone(&left));
            async move {
                let _left = left;
                next.run(request).await
            }
        });
        let http_cache = HttpCache::new(&Cache::new("pages", Memory::new()));
        let router = router.layer(http_cache.layer()).layer(watch);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Returns the page, and waits until the request has ended.
    async fn get(&self, address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        self.left.acquire().await.unwrap().forget();
        reply.rsplit_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Sends a change, leaves when the handler runs, and waits until the server has noticed.
    async fn post_and_leave(&self, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(POST.as_bytes()).await.unwrap();
        self.entered.acquire().await.unwrap().forget();
        drop(stream);
        self.left.acquire().await.unwrap().forget();
    }

    /// Asserts that the change of a client that has left removes the page when it is done.
    async fn assert_change_removes_it(&self, address: SocketAddr) {
        assert_eq!(self.get(address).await, "1");
        self.post_and_leave(address).await;
        assert_eq!(self.get(address).await, "1", "the change is not done yet");
        self.gate.add_permits(1);
        let until_changed = async {
            while self.get(address).await != "2" {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), until_changed).await.expect("the page was removed");
    }
}

#[tokio::test]
async fn change_goes_on_and_removes_the_page_after_its_client_has_left() {
    let page = Page::new();
    let address = page.serve(page.router()).await;
    page.assert_change_removes_it(address).await;
}

#[cfg(feature = "idempotency")]
#[tokio::test]
async fn change_in_a_task_of_its_own_removes_the_page_after_its_client_has_left() {
    use cache_tower::idempotency::IdempotencyLayer;

    let page = Page::new();
    let keys = Cache::new("keys", Memory::new());
    let once = IdempotencyLayer::new(&keys, |_| Some("a user".to_owned()));
    let address = page.serve(page.router().layer(once)).await;
    page.assert_change_removes_it(address).await;
}

#[tokio::test]
async fn change_goes_on_in_the_caches_of_its_request() {
    use cache_core::{CACHES, Caches, cache};

    let dummy = Caches::from_toml("caches.default.backend = 'dummy'").unwrap().leak();
    let (page, seen) = (Page::new(), Arc::new(Semaphore::new(0)));
    let (gate, entered, noted) = (page.gate.clone(), page.entered.clone(), seen.clone());
    let change = async move || {
        entered.add_permits(1);
        gate.acquire().await.unwrap().forget();
        assert_eq!(cache().backend().name(), "dummy");
        noted.add_permits(1);
    };
    let router = Router::new().route("/a", post(change));
    let http_cache = HttpCache::new(&Cache::new("pages", Memory::new()));
    let mut router = router.layer(http_cache.layer());
    let request = Request::post("/a").body(Body::empty()).unwrap();
    let call = router.call(request);
    let sent = tokio::spawn(CACHES.scope(dummy, call));
    page.entered.acquire().await.unwrap().forget();
    sent.abort();
    assert!(sent.await.unwrap_err().is_cancelled());
    page.gate.add_permits(1);
    let noted = timeout(Duration::from_secs(60), seen.acquire()).await;
    noted.expect("the handler has seen the caches").unwrap().forget();
}

#[tokio::test]
async fn change_runs_in_the_task_of_its_request_while_its_client_waits() {
    tokio::task_local!(static USER: &'static str);

    let router = Router::new().route("/a", post(async || USER.get()));
    let http_cache = HttpCache::new(&Cache::new("pages", Memory::new()));
    let mut router = router.layer(http_cache.layer());
    let request = Request::post("/a").body(Body::empty()).unwrap();
    let call = router.call(request);
    assert_eq!(USER.scope("ada", call).await.unwrap().status(), 200);
}
