//! Responses to the client: conditional, partial, without content.

use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{AGE, CONTENT_LENGTH},
};
use http_body::Body;

use super::{
    body::HttpCacheBody,
    cache_status::{CacheStatus, Why},
    conditional,
    config::Config,
    head::Head,
    range::{self, Part},
    stored::Stored,
};

/// Answers with a stored response.
pub(super) fn stored<B: Body>(
    config: &Config,
    head: &Head,
    stored: Stored,
    status: &CacheStatus,
) -> Response<HttpCacheBody<B>> {
    let (mut parts, ()) = Response::new(()).into_parts();
    let age = stored.age(config.clock.wall());
    parts.status = stored.status;
    parts.headers = stored.headers;
    parts.headers.insert(AGE, HeaderValue::from(age.as_secs()));
    status.add_to(&mut parts.headers, &config.name);
    let body = stored.body;
    if conditional::is_not_modified(&head.headers, parts.status, &parts.headers) {
        return not_modified(parts);
    }
    if head.method == Method::HEAD {
        // It would be that of no content (RFC 9530, appendix B.2).
        parts.headers.remove(range::CONTENT_DIGEST);
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(body.len()));
        return Response::from_parts(parts, HttpCacheBody::empty());
    }
    match range::part(&head.headers, parts.status, &parts.headers, body.len()) {
        Part::Whole => Response::from_parts(parts, HttpCacheBody::stored(body)),
        Part::Of(part) => {
            parts.status = StatusCode::PARTIAL_CONTENT;
            range::to_part(&mut parts.headers, &part, body.len());
            Response::from_parts(parts, HttpCacheBody::stored(body.slice(part)))
        }
        Part::Unsatisfiable => {
            parts.status = StatusCode::RANGE_NOT_SATISFIABLE;
            range::to_unsatisfiable(&mut parts.headers, body.len());
            Response::from_parts(parts, HttpCacheBody::empty())
        }
    }
}

/// Answers with the response of the service to a request from which the client's conditions were
/// removed.
pub(super) fn forwarded<B: Body>(
    config: &Config,
    head: &Head,
    response: Response<HttpCacheBody<B>>,
    status: &CacheStatus,
) -> Response<HttpCacheBody<B>> {
    let (mut parts, body) = response.into_parts();
    status.add_to(&mut parts.headers, &config.name);
    if conditional::is_not_modified(&head.headers, parts.status, &parts.headers) {
        return not_modified(parts);
    }
    Response::from_parts(parts, body)
}

/// Answers that there is no response.
pub(super) fn gateway_timeout<B: Body>(config: &Config, why: Why) -> Response<HttpCacheBody<B>> {
    let mut response = Response::new(HttpCacheBody::empty());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    CacheStatus::from(why).add_to(response.headers_mut(), &config.name);
    response
}

fn not_modified<B: Body>(mut parts: http::response::Parts) -> Response<HttpCacheBody<B>> {
    parts.status = StatusCode::NOT_MODIFIED;
    conditional::to_not_modified(&mut parts.headers);
    Response::from_parts(parts, HttpCacheBody::empty())
}
