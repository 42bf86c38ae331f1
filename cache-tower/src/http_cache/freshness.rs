//! Which responses are stored, and for how long they are fresh.
//!
//! The crate `http-cache-semantics` decides by RFC 7234. It reads fields that this module has
//! cleaned first: it takes the names of directives as they are written, reads one form of dates,
//! and treats `proxy-revalidate` as if the response had expired. The refusals of a shared
//! cache in addition are decided here.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, COOKIE, DATE, EXPIRES, PRAGMA,
        SET_COOKIE, VARY,
    },
};
use http_cache_semantics::{CacheOptions, CachePolicy};

use super::directives::{Directives, MAX_SECONDS, seconds};

/// The terms under which a response is stored.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) initial_age: u64,
    /// From an age of zero, in seconds.
    pub(super) lifetime: u64,
    pub(super) stale_while_revalidate: u64,
    pub(super) stale_if_error: u64,
    pub(super) may_be_stale: bool,
    pub(super) with_cookie: bool,
    pub(super) with_authorization: bool,
}

/// The statements of a request about storing its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) cookie: bool,
    pub(super) authorization: bool,
    pub(super) no_store: bool,
}

/// The settings of the layer about storing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub(super) default_ttl: Option<Duration>,
    pub(super) errors: bool,
}

impl Asked {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            cookie: headers.contains_key(COOKIE),
            authorization: headers.contains_key(AUTHORIZATION),
            no_store: Directives::of(headers).has("no-store"),
        }
    }

    pub(super) fn has_credentials(self) -> bool {
        self.cookie || self.authorization
    }
}

/// Returns the terms of a response to GET. `None` if it must not be stored.
pub(super) fn terms(
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    rules: Rules,
    now: SystemTime,
) -> Option<Terms> {
    let directives = Directives::of(headers);
    let is_public = directives.has("public");
    let has_s_maxage = directives.has("s-maxage");
    let must_revalidate = directives.has("must-revalidate");
    let with_authorization = is_public || has_s_maxage || must_revalidate;
    if asked.no_store
        || (asked.cookie && !is_public)
        || (asked.authorization && !with_authorization)
        || headers.contains_key(SET_COOKIE)
        || headers.contains_key(CONTENT_RANGE)
        || ["no-store", "private", "no-cache"].iter().any(|it| directives.has(it))
        || (headers.contains_key(PRAGMA) && !headers.contains_key(CACHE_CONTROL))
        || vary(headers).is_none()
        || !may_store(status, rules)
    {
        return None;
    }
    let is_explicit = has_s_maxage || directives.has("max-age") || headers.contains_key(EXPIRES);
    let cleaned = cleaned(asked, headers, &directives);
    let initial_age = age(headers, now);
    let lifetime = if is_explicit {
        let lifetime = lifetime(asked, status, cleaned, now)?.as_secs();
        lifetime.min(MAX_SECONDS)
    } else {
        let ttl = rules.default_ttl.filter(|_| status == StatusCode::OK)?;
        // Whole seconds, and never less than the caller asked for.
        ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)
    };
    // A shared cache revalidates by `s-maxage` as by `proxy-revalidate` (RFC 9111, 5.2.2.10).
    let may_be_stale = !must_revalidate && !has_s_maxage && !directives.has("proxy-revalidate");
    let window = |name| match directives.seconds(name) {
        Some(seconds) if !must_revalidate && !directives.has("proxy-revalidate") => seconds,
        _ => 0,
    };
    (lifetime > initial_age).then(|| Terms {
        initial_age,
        lifetime,
        stale_while_revalidate: window("stale-while-revalidate"),
        stale_if_error: window("stale-if-error"),
        may_be_stale,
        with_cookie: is_public,
        with_authorization,
    })
}

/// Returns the names of the fields in `Vary`, in order. `None` if it has `*`, or a name that no
/// field has.
pub(super) fn vary(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut res = Vec::new();
    for field in headers.get_all(VARY) {
        for name in field.to_str().ok()?.split(',') {
            let name = name.trim();
            if name.is_empty() {
                continue;
            }
            if name == "*" || HeaderName::try_from(name).is_err() {
                return None;
            }
            res.push(name.to_ascii_lowercase());
        }
    }
    res.sort_unstable();
    res.dedup();
    Some(res)
}

/// An error page must not replace a page: errors are stored only if the layer says so.
fn may_store(status: StatusCode, rules: Rules) -> bool {
    if status == StatusCode::PARTIAL_CONTENT || status == StatusCode::NOT_MODIFIED {
        return false;
    }
    status.is_success()
        || status.is_redirection()
        || status == StatusCode::NOT_FOUND
        || status == StatusCode::GONE
        || (rules.errors && (status.is_client_error() || status.is_server_error()))
}

/// Returns the lifetime by the crate. `None` if the response must not be stored.
fn lifetime(
    asked: Asked,
    status: StatusCode,
    headers: HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    if asked.authorization {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(""));
    }
    let mut response = Response::new(());
    // The crate knows fewer codes. Whether this one may be stored is decided above.
    *response.status_mut() =
        if status.is_success() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    *response.headers_mut() = headers;
    let options = CacheOptions {
        shared: true,
        cache_heuristic: 0.0,
        immutable_min_time_to_live: Duration::ZERO,
        ignore_cargo_cult: false,
    };
    let policy = CachePolicy::new_options(&request, &response, now, options);
    policy.is_storable().then(|| policy.time_to_live(now))
}

/// Returns the fields on which the lifetime depends, in the form that the crate reads.
fn cleaned(asked: Asked, headers: &HeaderMap, directives: &Directives) -> HeaderMap {
    let mut res = HeaderMap::new();
    let mut control = String::new();
    for name in ["max-age", "s-maxage"] {
        if let Some(seconds) = directives.seconds(name) {
            // Writing to a string does not fail.
            let _ = write!(control, "{name}={seconds}, ");
        }
    }
    // Each of these three allows to store responses to requests with credentials.
    if asked.authorization {
        control.push_str("public");
    }
    if let Ok(control) = HeaderValue::try_from(control) {
        res.insert(CACHE_CONTROL, control);
    }
    if headers.contains_key(EXPIRES) {
        // Of several dates, the first one counts. An invalid one is in the past.
        let expires = date(headers, EXPIRES).unwrap_or(SystemTime::UNIX_EPOCH);
        insert_date(&mut res, EXPIRES, expires);
    }
    if let Some(date) = date(headers, DATE) {
        insert_date(&mut res, DATE, date);
    }
    res
}

/// Returns the age of a response: the larger one of `Age` and of the time since `Date` (RFC 9111,
/// section 4.2.3). Of several `Age`, the first one counts, and an invalid one is ignored (section
/// 5.1).
fn age(headers: &HeaderMap, now: SystemTime) -> u64 {
    let first = headers.get(AGE).and_then(|it| it.as_bytes().split(|it| *it == b',').next());
    let first = first.and_then(|it| str::from_utf8(it).ok());
    let age = first.and_then(|it| seconds(it.trim())).unwrap_or(0);
    let since_date = date(headers, DATE).and_then(|it| now.duration_since(it).ok());
    age.max(since_date.unwrap_or_default().as_secs())
}

/// Returns a date in one of the three forms of RFC 9110, section 5.6.7.
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

pub(super) fn insert_date(headers: &mut HeaderMap, name: HeaderName, date: SystemTime) {
    // Later years than 9999 have no HTTP date, and `fmt_http_date` panics for them.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let date = date.clamp(SystemTime::UNIX_EPOCH, end);
    if let Ok(value) = HeaderValue::try_from(httpdate::fmt_http_date(date)) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_age_counts_whatever_bytes_follow() {
        for (value, expected) in [(&b"5"[..], 5), (b"5, 9", 5), (b"5, \xff", 5), (b"\xff, 5", 0)] {
            let mut headers = HeaderMap::new();
            headers.insert(AGE, HeaderValue::from_bytes(value).unwrap());
            assert_eq!(age(&headers, SystemTime::UNIX_EPOCH), expected);
        }
    }
}
