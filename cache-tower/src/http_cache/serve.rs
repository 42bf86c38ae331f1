//! The way of a request: from the cache, from a load that others wait for, or from the service.

use std::{panic::resume_unwind, sync::Arc};

use http::{
    Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, CONTENT_LOCATION, LOCATION, RANGE, TRANSFER_ENCODING},
};
use http_body::Body;
use tower_service::Service;

use super::{
    body::HttpCacheBody,
    cache_status::{CacheStatus, Forwarded, Why},
    conditional,
    config::{Config, DefaultTtl, Inside},
    directives::Directives,
    exchange::{Client, Exchange, Failure},
    freshness::Asked,
    head::Head,
    key::Target,
    lookup::{Found, Lookup},
    outlive::Outlive,
    respond,
};

pub(super) async fn serve<S, Q, B>(
    config: Arc<Config>,
    service: S,
    request: Request<Q>,
) -> Result<Response<HttpCacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    let target = Target::of(&request);
    let method = request.method().clone();
    if !method.is_safe()
        && let Some(target) = target
    {
        // Also inside of another cache: this one may have responses of other requests.
        return change(config, service, request, target).await;
    }
    if request.extensions().get::<Inside>().is_some() {
        return inside(&config, service, request).await;
    }
    let Some(target) = target else {
        return pass(&config, service, request, Why::Bypass).await;
    };
    if method != Method::GET && method != Method::HEAD {
        return pass(&config, service, request, Why::Method).await;
    }
    if has_content(&request) || conditional::has_precondition(request.headers()) {
        return pass(&config, service, request, Why::Bypass).await;
    }
    let headers = request.headers().clone();
    let (asked, directives) = (Asked::of(&headers), Directives::of(&headers));
    let head = Head { method, headers, target, asked, directives };
    let only_if_cached = head.directives.has("only-if-cached");
    let reads_only = only_if_cached
        || asked.no_store
        || head.method == Method::HEAD
        || head.headers.contains_key(RANGE)
        || config.passes.has(&head.target.key, asked, &config.clock);
    if !reads_only {
        return load(&config, service, request, &head).await;
    }
    let now = config.clock.wall();
    if let Some(stored) = Lookup::new(&config, &head).stored().await
        && !head.demands_load(&config, &stored)
    {
        let status = CacheStatus::hit(stored.age(now), stored.meta.lifetime);
        return Ok(respond::stored(&config, &head, *stored, &status));
    }
    if only_if_cached {
        return Ok(respond::gateway_timeout(&config, Why::Request));
    }
    let why = if asked.no_store || asked.has_credentials() { Why::Request } else { Why::Bypass };
    pass(&config, service, request, why).await
}

/// Answers by a load, which all requests for the same response share.
async fn load<S, Q, B>(
    config: &Arc<Config>,
    service: S,
    request: Request<Q>,
    head: &Head,
) -> Result<Response<HttpCacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    let (exchange, mut client) = Exchange::new(config, &head.target, service, request);
    let mut lookup = Lookup::new(config, head);
    let (why, stored) = match lookup.fetch(&exchange).await {
        Found::Stored(stored, status) => {
            return Ok(respond::stored(config, head, *stored, &status));
        }
        Found::Nothing { why, stored } => (why, stored),
    };
    if let Some(pending) = exchange.take() {
        return pass(config, pending.service, pending.request, why).await;
    }
    answer(config, head, &mut client, why, stored).await
}

/// Returns the response to the request that a load has sent.
async fn answer<B: Body, E>(
    config: &Config,
    head: &Head,
    client: &mut Client<B, E>,
    why: Why,
    stored: Option<u128>,
) -> Result<Response<HttpCacheBody<B>>, E> {
    match client.answer().await {
        Some(Ok(answer)) => {
            let (status, stored) = (answer.status, answer.id.is_some() && answer.id == stored);
            let status = Forwarded { why, status, stored, collapsed: false };
            Ok(respond::forwarded(config, head, answer.response, &CacheStatus::Forwarded(status)))
        }
        Some(Err(Failure::Error(error))) => Err(error),
        // The handler's panic ends this request as it would without the layer.
        Some(Err(Failure::Panic(panic))) => resume_unwind(panic),
        None => Ok(respond::gateway_timeout(config, why)),
    }
}

/// Sends a request to the service without the cache.
async fn pass<S, Q, B>(
    config: &Config,
    mut service: S,
    mut request: Request<Q>,
    why: Why,
) -> Result<Response<HttpCacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body,
{
    // A cache inside would store the response without the fields that layers between them add, and
    // this one would serve it if both have one store.
    request.extensions_mut().insert(Inside);
    let mut response = service.call(request).await?;
    CacheStatus::from(why).add_to(response.headers_mut(), &config.name);
    Ok(response.map(HttpCacheBody::of_service))
}

/// Passes a request on that a cache around this one has sent.
async fn inside<S, Q, B>(
    config: &Config,
    mut service: S,
    request: Request<Q>,
) -> Result<Response<HttpCacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body,
{
    let mut response = service.call(request).await?;
    if let Some(ttl) = config.rules.default_ttl {
        // The setting that is nearest to the handler counts.
        response.extensions_mut().get_or_insert_with(|| DefaultTtl(ttl));
    }
    Ok(response.map(HttpCacheBody::of_service))
}

/// Sends a request that changes something, and removes the stored responses that it concerns (RFC
/// 9111, section 4.4), also if its client leaves.
async fn change<S, Q, B>(
    config: Arc<Config>,
    service: S,
    request: Request<Q>,
    target: Target,
) -> Result<Response<HttpCacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    Q: Send + 'static,
    B: Body + Send + 'static,
    B::Error: Send,
{
    // A removal when the client leaves would be too early: the change may take effect later, in a
    // task of the handler or in a database that commits, and the old response be loaded before.
    Outlive::new(async move {
        let response = pass(&config, service, request, Why::Method).await?;
        let status: StatusCode = response.status();
        if status.is_success() || status.is_redirection() {
            let others = [LOCATION, CONTENT_LOCATION]
                .into_iter()
                .filter_map(|name| target.reference(response.headers().get(name)?.to_str().ok()?));
            let keys: Vec<String> = others.chain([target.key.clone()]).collect();
            // If the store fails, the facade serves none of them until it has deleted them.
            let _ = config.cache.delete_many(&keys).await;
        }
        Ok(response)
    })
    .await
}

/// Returns whether a request has content, which is not part of the key.
fn has_content<Q: Body>(request: &Request<Q>) -> bool {
    let headers = request.headers();
    let has_length = headers.get(CONTENT_LENGTH).is_some_and(|it| it.as_bytes() != b"0");
    let may_have_none = request.version() <= Version::HTTP_11;
    has_length
        || headers.contains_key(TRANSFER_ENCODING)
        || !may_have_none && !request.body().is_end_stream()
}
