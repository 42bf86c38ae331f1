//! A site with an HTTP cache, and its client.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response, routing::any};
use bytes::Bytes;
use cache_core::{Cache, FetchSettings, testing::FakeClock};
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;

/// A site, its cache, and a client.
pub(crate) struct Site {
    pub(crate) cache: Cache,
    pub(crate) http_cache: HttpCache,
    pub(crate) clock: FakeClock,
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    client: Client<HttpConnector, Body>,
}

/// A response whose body was read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Returns a response with these fields, and the number of the call as its body.
pub(crate) fn page(fields: &[(&str, &str)]) -> Response {
    let mut res = Response::builder();
    for (name, value) in fields {
        res = res.header(*name, *value);
    }
    res.body(Body::empty()).unwrap()
}

impl Site {
    /// Starts a site in which a handler answers all requests. An empty body of status 200 is
    /// replaced by the number of the call.
    pub(crate) async fn new(
        handler: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::with(|it| it, handler).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(HttpCache) -> HttpCache,
        handler: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let clock = FakeClock::new();
        let hour = Duration::from_secs(3600);
        let cache = Cache::builder(Memory::builder().clock(clock.clock()).build().unwrap())
            .clock(clock.clock())
            .fetch(FetchSettings::with_grace(hour))
            .tags(true)
            .build("pages")
            .unwrap();
        let http_cache = change(HttpCache::new(&cache).clock(clock.clock()));
        Self::of(cache, http_cache, clock, handler).await
    }

    /// Starts a site with this body instead of the number of the call.
    pub(crate) async fn with_body(
        body: &'static str,
        handler: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |request| handler(request).map(|_| Body::from(body))).await
    }

    pub(crate) async fn of(
        cache: Cache,
        http_cache: HttpCache,
        clock: FakeClock,
        handler: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&calls);
        let handler = any(async move |request: Request| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let response = handler(&request);
            let is_empty = http_body::Body::size_hint(response.body()).exact() == Some(0);
            if is_empty && response.status() == StatusCode::OK {
                return response.map(|_| Body::from(number.to_string()));
            }
            response
        });
        let router = Router::new().fallback(handler).layer(http_cache.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { cache, http_cache, clock, address, calls, client }
    }

    /// Returns how often the handler was called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits until the handler was called this often.
    pub(crate) async fn until_calls(&self, calls: usize) {
        while self.calls() < calls {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the response has this body.
    pub(crate) async fn until(&self, path: &str, text: &str) {
        while self.get(path).await.text() != text {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send("GET", path, fields).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.request(method, path, fields, Body::empty()).await
    }

    pub(crate) async fn send_body(&self, method: &str, path: &str, body: &'static str) -> Reply {
        self.request(method, path, &[], Body::from(body)).await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(self.url(path));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns the value of a field, or the empty text.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }
}
