//! The layer and its service.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{body::HttpCacheBody, config::Config, serve};

/// A layer that answers requests from a cache: see [`HttpCache`](super::HttpCache).
#[derive(Clone)]
pub struct HttpCacheLayer {
    pub(super) config: Arc<Config>,
}

/// The service that an [`HttpCacheLayer`] makes of another one.
#[derive(Clone)]
pub struct HttpCacheService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Layer<S> for HttpCacheLayer {
    type Service = HttpCacheService<S>;

    fn layer(&self, inner: S) -> HttpCacheService<S> {
        HttpCacheService { inner, config: Arc::clone(&self.config) }
    }
}

impl<S, Q, B> Service<Request<Q>> for HttpCacheService<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<HttpCacheBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // The service that is ready handles this request.
        let next = self.inner.clone();
        let service = mem::replace(&mut self.inner, next);
        let config = Arc::clone(&self.config);
        Box::pin(serve::serve(config, service, request))
    }
}

impl fmt::Debug for HttpCacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer").field("config", &self.config).finish()
    }
}

impl<S> fmt::Debug for HttpCacheService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheService").field("config", &self.config).finish_non_exhaustive()
    }
}
