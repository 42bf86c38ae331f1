//! An HTTP cache as a tower layer: for axum, and for every service of HTTP requests.

mod body;
mod cache_status;
mod conditional;
mod config;
mod directives;
mod exchange;
mod freshness;
mod head;
mod key;
mod layer;
mod load;
mod lookup;
mod outlive;
mod passes;
mod range;
mod reference;
mod respond;
mod serve;
mod stored;
mod tags;

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, Clock, Error, ErrorKind, Result, form::Form};

pub use self::{
    body::HttpCacheBody,
    layer::{HttpCacheLayer, HttpCacheService},
};
use self::{config::Config, freshness::Rules};

/// An HTTP cache over a cache of `cache-core`: stores the responses of a service by RFC 9111.
///
/// [`layer`](Self::layer) returns a tower layer, for a whole site (`Router::layer`), some routes
/// (`Router::route_layer`) or one handler. It belongs outside of layers that set cookies or `Vary`,
/// because it decides by the response that it sees. A handler sets the policy of its response by
/// `Cache-Control`: a response that says nothing is not stored.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use cache_core::Cache;
/// use cache_memory::Memory;
/// use cache_tower::http_cache::HttpCache;
/// # use tower_service::Service;
///
/// let cache = Cache::new("pages", Memory::new());
/// let http_cache = HttpCache::new(&cache);
/// let mut app: Router = Router::new()
///     .route("/news", get(async || ([("cache-control", "max-age=60")], "the news")))
///     .layer(http_cache.layer());
///
/// let request = || Request::get("http://localhost/news").body(Body::empty()).unwrap();
/// let first = app.call(request()).await.unwrap();
/// assert_eq!(first.headers()["cache-status"], "pages; fwd=uri-miss; stored");
/// let second = app.call(request()).await.unwrap();
/// assert_eq!(second.headers()["cache-status"], "pages; hit; ttl=60");
///
/// assert!(http_cache.purge("http://localhost/news").await?);
/// # Ok(()) }
/// ```
///
/// # What is stored
/// A response to GET with the status 200, another success, a redirect, 404 or 410, if it says by
/// `s-maxage`, `max-age` or `Expires` for how long it is fresh. Never one with `Set-Cookie`,
/// `private`, `no-store`, `no-cache` or `Vary: *`, nor one to a request with a `Cookie`, unless it
/// says `public`. To a request with `Authorization`, it must say `public`, `s-maxage` or
/// `must-revalidate` (RFC 9111, section 3.5). A request with credentials is not answered with a
/// response that says none of them, either.
///
/// The key is the host, the path and the query, as they are. Request fields that `Vary` names, and
/// fields by which frameworks change the URL (such as `X-Forwarded-Host`), select a variant.
///
/// # Loads
/// All requests for one response that is not stored wait for one call of the service, which goes on
/// when its client leaves, as long as another one waits. If the response may not be stored, each
/// waiting request calls the service, and for 10 seconds later requests do not wait.
///
/// The setting [`grace`](cache_core::FetchSettings::grace) of the cache is the time for which an
/// expired response is kept. Within it, `stale-while-revalidate` and `stale-if-error` take effect
/// (RFC 5861), and the service tells by `If-None-Match` whether its response has changed.
///
/// The tags of a response are those in its fields `Cache-Tag` and `Surrogate-Key`. If it has any,
/// the cache needs the setting [`tags`](cache_core::CacheSettings::tags), and
/// [`Cache::invalidate_tags`] removes it. The first such response of a process with a new tag is
/// not stored: see [`LoadContext::tag`](cache_core::LoadContext::tag).
///
/// If the store fails, the service answers.
///
/// # Changes
/// A POST or another request with an unsafe method that succeeds removes the response of its URL,
/// and those that its response names by `Location` and `Content-Location`. It runs to its end: when
/// its client leaves, it goes on in a task of its own, because the change may still take effect. So
/// a layer that bounds its time belongs inside of this one.
#[derive(Clone, Debug)]
pub struct HttpCache {
    config: Arc<Config>,
}

const MAX_BODY: usize = 1024 * 1024;

impl HttpCache {
    /// Returns an HTTP cache that stores its responses in `cache`, next to other values.
    pub fn new<F: Form>(cache: &Cache<F>) -> Self {
        let config = Config {
            cache: cache.bytes(),
            name: cache_status::item(cache.alias()),
            max_body: MAX_BODY,
            rules: Rules::default(),
            client_control: false,
            clock: Clock::system(),
            passes: Arc::default(),
        };
        Self { config: Arc::new(config) }
    }

    /// Sets the largest body in bytes that is stored. 1 MiB by default. A body that is longer
    /// reaches the client without being read to its end before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use axum::{Router, body::Body, http::Request, routing::get}; use cache_core::Cache;
    /// # use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// # use tower_service::Service;
    /// # let cache = Cache::new("pages", Memory::new());
    /// let layer = HttpCache::new(&cache).max_body(4).layer();
    /// let news = get(async || ([("cache-control", "max-age=60")], "the news"));
    /// let mut app: Router = Router::new().route("/", news).layer(layer);
    /// let response = app.call(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(response.headers()["cache-status"], "pages; fwd=uri-miss");
    /// # }
    /// ```
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|it| it.max_body = bytes)
    }

    /// Stores responses with the status 200 for this time if they do not say how long they are
    /// fresh, as Django's `cache_page` does. All other rules remain. The response gets no field, so
    /// that clients do not store it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use axum::{Router, body::Body, http::Request, routing::get}; use cache_core::Cache;
    /// # use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// # use std::time::Duration; use tower_service::Service;
    /// # let cache = Cache::new("pages", Memory::new());
    /// let layer = HttpCache::new(&cache).default_ttl(Duration::from_secs(60)).layer();
    /// let mut app: Router = Router::new().route("/", get("the news")).layer(layer);
    /// app.call(Request::new(Body::empty())).await.unwrap();
    /// let response = app.call(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(response.headers()["cache-status"], "pages; hit; ttl=60");
    /// # }
    /// ```
    #[must_use]
    pub fn default_ttl(self, ttl: Duration) -> Self {
        self.with(|it| it.rules.default_ttl = Some(ttl))
    }

    /// Sets whether all error pages that say for how long they are fresh are stored. By default
    /// only those with 404 and 410 are: a request with a bad field must not replace a page by an
    /// error for all others.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use axum::{Router, body::Body, http::{Request, StatusCode}, routing::get};
    /// # use cache_core::Cache; use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// # use tower_service::Service;
    /// # let cache = Cache::new("pages", Memory::new());
    /// let closed = (StatusCode::SERVICE_UNAVAILABLE, [("cache-control", "max-age=5")]);
    /// let layer = HttpCache::new(&cache).store_errors(true).layer();
    /// let mut app: Router = Router::new().route("/", get(async move || closed)).layer(layer);
    /// app.call(Request::new(Body::empty())).await.unwrap();
    /// let response = app.call(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(response.headers()["cache-status"], "pages; hit; ttl=5");
    /// # }
    /// ```
    #[must_use]
    pub fn store_errors(self, yes: bool) -> Self {
        self.with(|it| it.rules.errors = yes)
    }

    /// Sets whether clients decide about their responses by `no-cache`, `max-age`, `min-fresh` and
    /// `max-stale` (RFC 9111, section 5.2.1). They do not by default, because each reload would
    /// call the service. `no-store` and `only-if-cached` always take effect.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use axum::{Router, body::Body, http::Request, routing::get}; use cache_core::Cache;
    /// # use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// # use tower_service::Service;
    /// # let cache = Cache::new("pages", Memory::new());
    /// let layer = HttpCache::new(&cache).client_control(true).layer();
    /// let news = get(async || ([("cache-control", "max-age=60")], "the news"));
    /// let mut app: Router = Router::new().route("/", news).layer(layer);
    /// app.call(Request::new(Body::empty())).await.unwrap();
    /// let reload = Request::get("/").header("cache-control", "no-cache").body(Body::empty());
    /// let response = app.call(reload.unwrap()).await.unwrap();
    /// assert_eq!(response.headers()["cache-status"], "pages; fwd=request; stored");
    /// # }
    /// ```
    #[must_use]
    pub fn client_control(self, yes: bool) -> Self {
        self.with(|it| it.client_control = yes)
    }

    /// Sets the name of this cache in the field `Cache-Status` (RFC 9211). By default it is the
    /// alias of the cache.
    ///
    /// ```
    /// # use cache_core::Cache; use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// # let cache = Cache::new("pages", Memory::new());
    /// let http_cache = HttpCache::new(&cache).name("shop.example");
    /// assert!(format!("{http_cache:?}").contains("shop.example"));
    /// ```
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.with(|it| it.name = cache_status::item(name))
    }

    /// Sets the clock by which ages are counted, for tests. It should be that of the cache.
    ///
    /// ```
    /// # use cache_core::Cache; use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// use cache_core::testing::FakeClock;
    ///
    /// let time = FakeClock::new();
    /// let cache = Cache::builder(Memory::new()).clock(time.clock()).build("pages")?;
    /// let http_cache = HttpCache::new(&cache).clock(time.clock());
    /// # let _ = http_cache; Ok::<_, cache_core::Error>(())
    /// ```
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|it| it.clock = clock)
    }

    /// Returns the layer. All layers of one cache share their responses.
    pub fn layer(&self) -> HttpCacheLayer {
        HttpCacheLayer { config: Arc::clone(&self.config) }
    }

    /// Removes the stored response of a URL, in all of its variants. Returns whether there was one.
    /// Loads in progress do not store their response.
    ///
    /// The host is that of the requests, in `Host` or in the URI. The scheme does not matter,
    /// except for the default port.
    ///
    /// # Errors
    /// `InvalidKey` if `url` is not an absolute URL. All others as [`Cache::delete`].
    ///
    /// # Cancel safety
    /// As [`Cache::delete`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::Cache; use cache_memory::Memory; use cache_tower::http_cache::HttpCache;
    /// let http_cache = HttpCache::new(&Cache::new("pages", Memory::new()));
    /// assert!(!http_cache.purge("https://shop.example/products/7?size=2").await?);
    /// # Ok(()) }
    /// ```
    pub async fn purge(&self, url: &str) -> Result<bool> {
        let Some(key) = key::key_of_url(url) else {
            let message = format!("cannot purge `{url}`: expected a URL with scheme and host");
            return Err(Error::new(ErrorKind::InvalidKey, message));
        };
        self.config.cache.delete(&key).await
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}
