use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{CACHES, Cache, IntoTimeout};
use http::{HeaderName, Method, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::IdempotencyBody,
    execution::{self, Next, respond},
    problem::Problem,
    request,
    settings::Settings,
};

/// A layer that executes a request once, however often it is sent.
///
/// It reads the header `Idempotency-Key` of `POST` and `PATCH` requests. Other methods pass, and so
/// do requests without the header, unless it is [required](Self::required).
///
/// | request with a key | response |
/// |---|---|
/// | the first one | that of the service, after it was stored |
/// | a repetition | the stored response, with `Idempotent-Replayed: true` |
/// | a repetition while the first one is executed | `409`, or after a [wait](Self::wait) the stored response |
/// | another method, path, query or body | `422` |
/// | the key is not a string in double quotes | `400` |
/// | the store fails | `503`, the request is not executed, unless [`run_on_failure`](Self::run_on_failure) |
///
/// The bodies of these errors are problem details (RFC 9457).
///
/// # Stored responses
/// As the draft and Stripe's API do, the layer stores successes and errors alike, `500` too: a
/// request that failed may have had effects. The statuses `429` and `503` are not stored, because
/// they ask the client to repeat the request; [`store_if`](Self::store_if) chooses others. The
/// status, the body, and the headers `Content-Type`, `Content-Encoding`, `Content-Language`,
/// `Content-Disposition`, `Location`, `Link`, `ETag` and `Last-Modified` are stored for a day:
/// [`keep_header`](Self::keep_header), [`lifetime`](Self::lifetime). Trailers are dropped. A
/// response of more than [1 MiB](Self::max_response) is sent to the first client and not stored: a
/// repetition is not executed and gets `500`.
///
/// # Guarantees
/// - One request of a key is executed at a time, among all processes that share the store. It runs
///   in a task of its own: a client that disconnects does not end it, and its response is stored.
///   Task-locals of layers outside are not seen, except the scope of
///   [`CACHES`].
/// - If the process is killed, or the service panics or returns an error instead of a response, the
///   key is free after the [lease](Self::lease), and the next repetition is executed. An execution
///   may then have happened in part: only a transaction of the service can undo it.
/// - If the store fails during the execution, the response is sent, and storing it is tried again
///   for the time of a lease.
/// - A store that evicts entries, or loses them in a restart, forgets keys. Use one that keeps
///   them: Redis without eviction, or a database.
///
/// # The path
/// A router that is nested strips its prefix from the path. Put the layer on the outer router, so
/// that two nested routers do not see the same path.
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    settings: Arc<Settings>,
}

impl IdempotencyLayer {
    /// Creates a layer whose records are in `cache`. `principal` returns the sender of a request,
    /// as an authentication layer outside of this one found it: keys of two senders are never the
    /// same.
    ///
    /// If it returns `None` for a request with a key, the response is `500`: without a sender, one
    /// client could read the response of another. A service whose clients are not known and share
    /// everything returns a constant.
    pub fn new(
        cache: &Cache,
        principal: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { settings: Arc::new(Settings::new(cache, principal)) }
    }

    /// Answers `400` to `POST` and `PATCH` requests without a key.
    #[must_use]
    pub fn required(self) -> Self {
        self.with(|it| it.required = true)
    }

    /// Executes requests also while the store fails, and then possibly twice. Without it, they are
    /// answered with `503`.
    #[must_use]
    pub fn run_on_failure(self) -> Self {
        self.with(|it| it.run_on_failure = true)
    }

    /// Sets how long a repetition waits for the first request before it gets `409`. If unset, it
    /// does not wait.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.with(|it| it.wait = time)
    }

    /// Sets after which time the key of a killed process is free: 30 s by default. It does not
    /// limit an execution, which renews its lease each third of it.
    ///
    /// A process that is paused for longer than the lease does not notice in time: choose it longer
    /// than any pause. A lease of less than a second is a second.
    #[must_use]
    pub fn lease(self, time: Duration) -> Self {
        self.with(|it| it.lease = time.max(Duration::from_secs(1)))
    }

    /// Sets how long a response is kept: a day by default. A repetition after that time is executed
    /// again.
    #[must_use]
    pub fn lifetime(self, time: impl IntoTimeout) -> Self {
        self.with(|it| it.lifetime = time.into_timeout())
    }

    /// Sets how many bytes of a request with a key are read: 2 MiB by default. Larger requests get
    /// `413`.
    #[must_use]
    pub fn max_request(self, bytes: usize) -> Self {
        self.with(|it| it.max_request = bytes)
    }

    /// Sets how many bytes of a response are stored: 1 MiB by default.
    #[must_use]
    pub fn max_response(self, bytes: usize) -> Self {
        self.with(|it| it.max_response = bytes)
    }

    /// Stores another header of the responses.
    #[must_use]
    pub fn keep_header(self, name: HeaderName) -> Self {
        self.with(|it| it.headers.push(name))
    }

    /// Sets which responses are stored. After another response the key is free, and a repetition is
    /// executed. So `stores` returns `false` only for statuses after which nothing was changed.
    #[must_use]
    pub fn store_if(self, stores: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.with(|it| it.stores = Arc::new(stores))
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService { inner, settings: Arc::clone(&self.settings) }
    }
}

/// The service of [`IdempotencyLayer`].
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, Q, B> Service<Request<Q>> for IdempotencyService<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Body + From<Bytes> + Send + 'static,
    Q::Data: Send,
    Q::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response<IdempotencyBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send + 'static>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // The service that is ready is the one to call.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            if ![Method::POST, Method::PATCH].contains(request.method()) {
                return pass(inner, request).await;
            }
            let key = request::key(request.headers());
            match key {
                Ok(Some(key)) => once(inner, request, key, settings).await,
                Ok(None) if settings.required => Ok(respond(Problem::KeyMissing)),
                Ok(None) => pass(inner, request).await,
                Err(problem) => Ok(respond(problem)),
            }
        })
    }
}

/// Answers a request with a key.
async fn once<S, Q, B>(
    inner: S,
    request: Request<Q>,
    key: String,
    settings: Arc<Settings>,
) -> Result<Response<IdempotencyBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Body + From<Bytes> + Send + 'static,
    Q::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let (parts, body) = request.into_parts();
    let body = match execution::read(body, settings.max_request).await {
        Ok(body) => body,
        Err(problem) => return Ok(respond(problem)),
    };
    // From the claim to the stored response in one task, which outlives the client.
    let task = CACHES.current().scope(async move {
        let next = execution::decide(&settings, &parts, &key, &body).await;
        let request = Request::from_parts(parts, Q::from(body));
        match next {
            Ok(Next::Execute(claim)) => execution::execute(inner, request, claim, settings).await,
            Ok(Next::ExecuteAnyway) => pass(inner, request).await,
            Ok(Next::Respond(response)) => Ok(response.map(IdempotencyBody::full)),
            Err(problem) => Ok(respond(problem)),
        }
    });
    match tokio::spawn(task).await {
        Ok(res) => res,
        Err(error) => match error.try_into_panic() {
            // The service panicked: as without this layer.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down, and polls this future no more.
            Err(_) => std::future::pending().await,
        },
    }
}

async fn pass<S, Q, B>(
    mut inner: S,
    request: Request<Q>,
) -> Result<Response<IdempotencyBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    let response = inner.call(request).await?;
    Ok(response.map(|body| IdempotencyBody::with_rest(Bytes::new(), body)))
}
