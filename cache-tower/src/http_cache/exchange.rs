//! A request that is sent to the service by a load, which may serve several clients.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use cache_core::{CACHES, CurrentCaches, LoadContext, Loaded};
use futures_util::FutureExt;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH, DATE},
};
use http_body::Body;
use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    body::{self, HttpCacheBody, Read},
    conditional,
    config::{Config, DefaultTtl, Inside},
    freshness::{self, Asked, Rules},
    key::{self, Target},
    load::{Abandoned, Load, ServiceFailed},
    stored::{Entry, Meta, Stored, random_id, without_connection},
    tags,
};

/// The answer of the service to the client whose request was sent.
pub(super) struct Answer<B: Body> {
    pub(super) response: Response<HttpCacheBody<B>>,
    /// The status of the service, if the response has another one.
    pub(super) status: Option<StatusCode>,
    /// The identifier of the entry, if the response may be stored.
    pub(super) id: Option<u128>,
}

/// The service gave no response.
pub(super) enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

type Outcome<B, E> = Result<Answer<B>, Failure<E>>;

/// A request that was not sent yet.
pub(super) struct Pending<S, Q, B: Body, E> {
    pub(super) service: S,
    pub(super) request: Request<Q>,
    sender: oneshot::Sender<Outcome<B, E>>,
}

/// A request of one client. A load sends it, unless the client gets another response.
pub(super) struct Exchange<S, Q, B: Body, E> {
    config: Arc<Config>,
    target: Target,
    pending: Mutex<Option<Pending<S, Q, B, E>>>,
    abandoned: Arc<Abandoned>,
    /// The scope of [`CACHES`] in which the client's request came: a load is another task.
    caches: CurrentCaches,
}

/// The client's side of an exchange. When it is dropped, the client has left.
pub(super) struct Client<B: Body, E> {
    receiver: oneshot::Receiver<Outcome<B, E>>,
    abandoned: Arc<Abandoned>,
}

/// Where the body of a response comes from.
enum Source<B> {
    /// The service has said that the stored one is still right.
    Stored(Bytes),
    Service(B),
}

impl<S, Q, B, E> Exchange<S, Q, B, E>
where
    S: Service<Request<Q>, Response = Response<B>, Error = E> + Send + 'static,
    S::Future: Send,
    E: Send + 'static,
    Q: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    pub(super) fn new(
        config: &Arc<Config>,
        target: &Target,
        service: S,
        request: Request<Q>,
    ) -> (Arc<Self>, Client<B, E>) {
        let (sender, receiver) = oneshot::channel();
        let abandoned = Arc::<Abandoned>::default();
        let exchange = Self {
            config: Arc::clone(config),
            target: target.clone(),
            pending: Mutex::new(Some(Pending { service, request, sender })),
            abandoned: Arc::clone(&abandoned),
            caches: CACHES.current(),
        };
        (Arc::new(exchange), Client { receiver, abandoned })
    }

    /// Returns the request, if it was not sent yet. It is not sent by a load then.
    pub(super) fn take(&self) -> Option<Pending<S, Q, B, E>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn is_sent(&self) -> bool {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Returns a loader that sends the request and returns the stored form of its response.
    pub(super) fn loader(
        self: &Arc<Self>,
    ) -> impl FnOnce(LoadContext<Bytes>) -> Load + Send + 'static {
        let this = Arc::clone(self);
        move |context| {
            let abandoned = Arc::clone(&this.abandoned);
            Load::new(async move { this.load(context).await }, abandoned)
        }
    }

    async fn load(&self, context: LoadContext<Bytes>) -> Result<Loaded<Bytes>, ServiceFailed> {
        let Some(Pending { mut service, mut request, sender }) = self.take() else {
            // The client has its response already. Those that wait for this load try again.
            context.skip();
            return Ok(Loaded::Value(Entry::refused(true)));
        };
        let sent = request.headers().clone();
        let asked = Asked::of(&sent);
        let old = self.old(&context, asked, &sent);
        conditional::revalidate(request.headers_mut(), old.as_deref().map(|it| &it.headers));
        request.extensions_mut().insert(Inside);
        let call = self.caches.scope(async move { service.call(request).await });
        let call = AssertUnwindSafe(call);
        let failure = match call.catch_unwind().await {
            Ok(Ok(response)) => {
                return self.respond(&context, old, asked, &sent, response, sender).await;
            }
            Ok(Err(error)) => Failure::Error(error),
            Err(panic) => Failure::Panic(panic),
        };
        // The client may have left.
        let _ = sender.send(Err(failure));
        if old.is_some_and(|it| self.serves_after_errors(&it)) {
            return Err(ServiceFailed);
        }
        Ok(self.refuse(&context, asked, false))
    }

    /// Sends the response to the client, and returns its stored form.
    async fn respond(
        &self,
        context: &LoadContext<Bytes>,
        old: Option<Box<Stored>>,
        asked: Asked,
        sent: &HeaderMap,
        response: Response<B>,
        sender: oneshot::Sender<Outcome<B, E>>,
    ) -> Result<Loaded<Bytes>, ServiceFailed> {
        let (mut parts, body) = response.into_parts();
        let (status, now) = (parts.status, self.config.clock.wall());
        let answer = |parts, body, status, id| {
            let response = Response::from_parts(parts, body);
            // The client may have left.
            let _ = sender.send(Ok(Answer { response, status, id }));
        };
        if matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && old.as_deref().is_some_and(|it| self.serves_after_errors(it))
        {
            answer(parts, HttpCacheBody::of_service(body), None, None);
            return Err(ServiceFailed);
        }
        let (body, forwarded) = match old {
            Some(old) if status == StatusCode::NOT_MODIFIED => {
                if !conditional::is_about(&old.headers, &parts.headers) {
                    (parts.status, parts.headers) = (old.status, old.headers);
                    answer(parts, HttpCacheBody::stored(old.body), Some(status), None);
                    // The entry is removed, so that the next request loads all of the response.
                    context.ttl(Duration::ZERO);
                    return Ok(Loaded::Value(Entry::refused(asked.has_credentials())));
                }
                let mut headers = old.headers;
                conditional::update(&mut headers, &without_connection(&parts.headers), now);
                (parts.status, parts.headers) = (old.status, headers);
                (Source::Stored(old.body), Some(status))
            }
            _ => (Source::Service(body), None),
        };
        let rules = Rules {
            default_ttl: parts
                .extensions
                .get::<DefaultTtl>()
                .map_or(self.config.rules.default_ttl, |it| Some(it.0)),
            ..self.config.rules
        };
        let terms = freshness::terms(asked, parts.status, &parts.headers, rules, now);
        let (tags, vary) = (tags::of(&parts.headers), freshness::vary(&parts.headers));
        let (Some(terms), Some(tags), Some(vary)) = (terms, tags, vary) else {
            let body = match body {
                Source::Stored(body) => HttpCacheBody::stored(body),
                Source::Service(body) => HttpCacheBody::of_service(body),
            };
            let is_final = !status.is_server_error();
            answer(parts, body, forwarded, None);
            return Ok(self.refuse(context, asked, is_final));
        };
        let body = match body {
            Source::Service(body) => body::read(body, self.config.max_body).await,
            Source::Stored(body) => Read::Whole(body),
        };
        let body = match body {
            Read::Whole(body) => body,
            Read::Part(body) => {
                answer(parts, body, forwarded, None);
                return Ok(self.refuse(context, asked, true));
            }
        };
        let mut headers = without_connection(&parts.headers);
        if !headers.contains_key(DATE) {
            freshness::insert_date(&mut headers, DATE, now);
        }
        let whole_len = headers
            .get(CONTENT_LENGTH)
            .is_none_or(|it| it.to_str().ok().and_then(|it| it.parse().ok()) == Some(body.len()));
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let selected = |name: String| {
            let value = key::selected(sent, &name);
            (name, value)
        };
        headers.remove(AGE);
        let stored = Stored {
            meta: Meta {
                id: random_id(now),
                stored_at: u64::try_from(millis).unwrap_or(u64::MAX),
                initial_age: terms.initial_age,
                lifetime: terms.lifetime,
                stale_while_revalidate: terms.stale_while_revalidate,
                stale_if_error: terms.stale_if_error,
                may_be_stale: terms.may_be_stale,
                with_cookie: terms.with_cookie,
                with_authorization: terms.with_authorization,
                selected: vary.into_iter().map(selected).collect(),
                routing: self.target.routing,
            },
            status: parts.status,
            headers,
            body: body.clone(),
        };
        let encoded = stored.encode().filter(|_| whole_len);
        let id = encoded.is_some().then_some(stored.meta.id);
        answer(parts, HttpCacheBody::stored(body), forwarded, id);
        let Some(encoded) = encoded else { return Ok(self.refuse(context, asked, true)) };
        self.config.passes.remove(&self.target.key, asked);
        context.ttl(Duration::from_secs(terms.lifetime.saturating_sub(terms.initial_age)));
        for tag in tags {
            context.tag(tag);
        }
        Ok(Loaded::Value(encoded))
    }

    /// Returns the stored response that the load replaces, if it answers this request.
    fn old(
        &self,
        context: &LoadContext<Bytes>,
        asked: Asked,
        headers: &HeaderMap,
    ) -> Option<Box<Stored>> {
        match Entry::decode(&context.stale()?)? {
            Entry::Response(it) if it.matches(&self.target, headers) && it.allows(asked) => {
                Some(it)
            }
            _ => None,
        }
    }

    fn serves_after_errors(&self, old: &Stored) -> bool {
        let limit = old.meta.lifetime.saturating_add(old.meta.stale_if_error);
        old.meta.stale_if_error > 0 && old.age(self.config.clock.wall()).as_secs() < limit
    }

    /// Tells those that wait that the response is not stored. `is_final` is false for a failure,
    /// after which the old response stays.
    fn refuse(&self, context: &LoadContext<Bytes>, asked: Asked, is_final: bool) -> Loaded<Bytes> {
        if is_final {
            self.config.passes.add(&self.target.key, asked, &self.config.clock);
        }
        if is_final && !asked.has_credentials() && !asked.no_store {
            context.ttl(Duration::ZERO);
        } else {
            context.skip();
        }
        Loaded::Value(Entry::refused(asked.has_credentials()))
    }
}

impl<B: Body, E> Client<B, E> {
    /// Waits for the answer of the service. `None` if the request was dropped unanswered.
    pub(super) async fn answer(&mut self) -> Option<Outcome<B, E>> {
        (&mut self.receiver).await.ok()
    }
}

impl<B: Body, E> Drop for Client<B, E> {
    fn drop(&mut self) {
        self.abandoned.set();
    }
}
