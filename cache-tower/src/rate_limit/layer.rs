use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use cache_core::Error;
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::{client_key::ClientKey, decision::Decision, limiter::Limiter};

/// A layer that asks a [`Limiter`] before each request.
///
/// | | response |
/// |---|---|
/// | the request may pass | that of the service, with `RateLimit` and `RateLimit-Policy` |
/// | the limit is reached | `429 Too Many Requests`, with these fields and `Retry-After` |
/// | the store fails, [`deny_on_failure`](Limiter::deny_on_failure) | `503 Service Unavailable` with `Retry-After: 1` |
/// | the store fails, [`allow_on_failure`](Limiter::allow_on_failure) | that of the service |
/// | the key of the client is not known, or another mistake | `500 Internal Server Error` |
///
/// The fields are those of draft-ietf-httpapi-ratelimit-headers-10. Several layers add up: their
/// fields are lists. Refusals have an empty body; the extensions of the response contain the
/// [`Decision`], and after a mistake the [`Error`], for a layer that writes a body or a log line.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use axum::{Router, body::Body, routing::get};
/// use cache_core::Cache;
/// use cache_memory::Memory;
/// use cache_tower::rate_limit::{ClientKey, Limiter, RateLimit, RateLimitLayer};
/// use http::{Request, StatusCode};
/// use std::time::Duration;
/// use tower::ServiceExt as _;
///
/// let cache = Cache::new("test", Memory::new());
/// let rule = RateLimit::fixed_window(1, Duration::from_secs(60));
/// let limiter = Limiter::deny_on_failure(&cache, "login", rule)?;
/// let by_user = ClientKey::from_fn(|parts| Some(parts.uri.path().to_owned()));
/// let app: Router = Router::new()
///     .route("/login/{user}", get(async || "welcome"))
///     .layer(RateLimitLayer::new(limiter, by_user));
///
/// let request = || Request::get("/login/ada").body(Body::empty()).unwrap();
/// let first = app.clone().oneshot(request()).await.unwrap();
/// assert_eq!(first.headers()["ratelimit"], "\"login\";r=0;t=60");
/// let second = app.oneshot(request()).await.unwrap();
/// assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
/// assert_eq!(second.headers()["retry-after"], "60");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    limiter: Limiter,
    key: ClientKey,
}

impl RateLimitLayer {
    /// Creates a layer that limits the requests with the same `key` together.
    pub fn new(limiter: Limiter, key: ClientKey) -> Self {
        Self { limiter, key }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService { inner, layer: self.clone() }
    }
}

/// The service of [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimitService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Send + 'static,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<Response<ResBody>, S::Error>> + Send + 'static>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The service that is ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let RateLimitLayer { limiter, key } = self.layer.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let decision = match key.of(&parts) {
                Ok(None) => return inner.call(Request::from_parts(parts, body)).await,
                Ok(Some(key)) => limiter.check(&key).await,
                Err(error) => Err(error),
            };
            let decision = match decision {
                Ok(decision) => decision,
                Err(error) => return Ok(mistake(error)),
            };
            let mut response = if decision.allowed {
                inner.call(Request::from_parts(parts, body)).await?
            } else {
                refusal(&decision)
            };
            limiter.policy().write(&decision, response.headers_mut());
            response.extensions_mut().insert(decision);
            Ok(response)
        })
    }
}

fn refusal<B: Default>(decision: &Decision) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = if decision.store_failed {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::TOO_MANY_REQUESTS
    };
    response
}

fn mistake<B: Default>(error: Error) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.extensions_mut().insert(error);
    response
}
