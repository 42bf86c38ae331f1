//! Answers repeated reads of one request once.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use cache_core::RequestMemo;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// A layer that opens a [`RequestMemo`] for each request: within a request, a cache asks its store
/// for each key once. It covers all caches of the program.
///
/// The scope ends with the response. A body that is computed while it is sent, and tasks that the
/// handler spawns, are not in it.
///
/// Put it outside of the layers and handlers that read caches: in axum, below them in the list of
/// `.layer` calls.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{convert::Infallible, sync::Arc};
/// use cache_core::{Cache, layer::Operation, testing::{Faulty, Model}};
/// use cache_tower::memo::RequestMemoLayer;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// let store = Faulty::new(Model::default());
/// let cache = Cache::new("test", Arc::new(store.clone()));
/// let handler = service_fn(async |key: &str| {
///     for _ in 0..3 {
///         assert_eq!(cache.get::<String>(key).await?, None);
///     }
///     Ok::<_, cache_core::Error>(())
/// });
/// let mut service = ServiceBuilder::new().layer(RequestMemoLayer::new()).service(handler);
/// for request in 1..=2 {
///     service.ready().await?.call("user:7").await?;
///     assert_eq!(store.calls(Operation::Get), request);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RequestMemoLayer {}

impl RequestMemoLayer {
    /// Creates the layer.
    pub const fn new() -> Self {
        Self {}
    }
}

impl<S> Layer<S> for RequestMemoLayer {
    type Service = RequestMemoService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestMemoService { inner }
    }
}

/// The service of [`RequestMemoLayer`].
#[derive(Clone, Debug)]
pub struct RequestMemoService<S> {
    inner: S,
}

impl<S: Service<R>, R> Service<R> for RequestMemoService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = RequestMemoFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let mut memo = RequestMemo::new();
        let inner = memo.scope_sync(|| self.inner.call(request));
        RequestMemoFuture { inner, memo }
    }
}

pin_project! {
    /// The future of [`RequestMemoService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RequestMemoFuture<F> {
        #[pin]
        inner: F,
        memo: RequestMemo,
    }
}

impl<F: Future> Future for RequestMemoFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.memo.scope_sync(|| this.inner.poll(cx))
    }
}
