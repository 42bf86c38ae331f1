//! The field `Cache-Status` of a response (RFC 9211).

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a response was found.
#[derive(Clone, Debug)]
pub(super) enum CacheStatus {
    Hit {
        /// The remaining lifetime in seconds, negative for a stale response.
        ttl: i64,
    },
    /// The request was forwarded to the service.
    Forwarded(Forwarded),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Forwarded {
    pub(super) why: Why,
    /// The status of the service, if it differs from that of the response.
    pub(super) status: Option<StatusCode>,
    pub(super) stored: bool,
    /// The request waited for the response to another request.
    pub(super) collapsed: bool,
}

/// The reason why a request was forwarded: the parameter `fwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The layer does not handle the request.
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    /// The request has a directive that demands it, or credentials.
    Request,
    Stale,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

impl From<Why> for CacheStatus {
    fn from(why: Why) -> Self {
        let forwarded = Forwarded { why, status: None, stored: false, collapsed: false };
        Self::Forwarded(forwarded)
    }
}

impl CacheStatus {
    pub(super) fn hit(age: Duration, lifetime: u64) -> Self {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
        Self::Hit { ttl: lifetime.saturating_sub(age) }
    }

    /// Adds this cache to the list: the cache that is nearest to the service comes first.
    pub(super) fn add_to(&self, headers: &mut HeaderMap, name: &str) {
        let mut value = name.to_owned();
        // Writing to a string does not fail.
        let _ = match self {
            Self::Hit { ttl } => write!(value, "; hit; ttl={ttl}"),
            Self::Forwarded(it) => write!(value, "; fwd={}", it.why.name()),
        };
        if let Self::Forwarded(it) = self {
            if let Some(status) = it.status {
                let _ = write!(value, "; fwd-status={}", status.as_u16());
            }
            for (is_set, parameter) in [(it.stored, "; stored"), (it.collapsed, "; collapsed")] {
                if is_set {
                    value.push_str(parameter);
                }
            }
        }
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

/// Returns a name as an item of a structured field: a token, or else a string.
pub(super) fn item(name: &str) -> String {
    let is_token = name.starts_with(|it: char| it.is_ascii_alphabetic())
        && name.chars().all(|it| it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(it));
    if is_token {
        return name.to_owned();
    }
    let text: String = name.chars().filter(|it| (' '..='~').contains(it)).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
