//! The stored form of a response: a header in postcard, and the body as it is.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONNECTION};
use serde::{Deserialize, Serialize};

use super::{
    freshness::Asked,
    key::{self, Digest32, Target},
};

/// The version of the form. Entries of another version are missing.
const VERSION: u8 = 1;
/// The version, the kind, and the length of the header.
const PREFIX: usize = 6;

/// An entry of the cache, or the answer of a load to those that wait for it.
#[derive(Debug)]
pub(super) enum Entry {
    Response(Box<Stored>),
    /// The URL has variants: their keys depend on these request fields.
    Variants(Variants),
    /// The response may not be stored. Never in the store, only for those that wait.
    Refused {
        /// The request that was sent had credentials. A request without may be answered otherwise.
        credentials: bool,
    },
}

/// A stored response.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) meta: Meta,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The properties of a response that a cache needs to serve it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    /// A random number: the keys of variants contain it, so that they end with this entry.
    pub(super) id: u128,
    /// The time of the response, in milliseconds since 1970.
    pub(super) stored_at: u64,
    /// The age of the response at this time, in seconds.
    pub(super) initial_age: u64,
    /// For how long the response is fresh, in seconds, from an age of zero.
    pub(super) lifetime: u64,
    pub(super) stale_while_revalidate: u64,
    pub(super) stale_if_error: u64,
    /// Whether a client may ask for a stale response.
    pub(super) may_be_stale: bool,
    /// Whether requests with a `Cookie` may use the response.
    pub(super) with_cookie: bool,
    /// Whether requests with an `Authorization` may use the response.
    pub(super) with_authorization: bool,
    /// The values of the request fields that `Vary` names.
    pub(super) selected: Vec<(String, Option<Vec<u8>>)>,
    pub(super) routing: Option<Digest32>,
}

/// How the variants of a URL are found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Variants {
    pub(super) id: u128,
    /// Names of request fields, in order.
    pub(super) names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    meta: Meta,
    status: u16,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a [u8])>,
}

impl Stored {
    /// Returns whether the response answers a request with these fields (RFC 9111, section 4.1).
    pub(super) fn matches(&self, target: &Target, headers: &HeaderMap) -> bool {
        self.meta.routing == target.routing
            && self.meta.selected.iter().all(|(name, value)| key::selected(headers, name) == *value)
    }

    /// Returns whether a request with these credentials may use the response.
    pub(super) fn allows(&self, asked: Asked) -> bool {
        (!asked.cookie || self.meta.with_cookie)
            && (!asked.authorization || self.meta.with_authorization)
    }

    /// Returns the current age of the response.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        let stored_at = UNIX_EPOCH + Duration::from_millis(self.meta.stored_at);
        let resident = now.duration_since(stored_at).unwrap_or_default();
        Duration::from_secs(self.meta.initial_age).saturating_add(resident)
    }

    pub(super) fn encode(&self) -> Option<Bytes> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let head = Head {
            meta: self.meta.clone(),
            status: self.status.as_u16(),
            headers: headers.collect(),
        };
        encode(0, &head, &self.body)
    }
}

impl Variants {
    pub(super) fn encode(&self) -> Option<Bytes> {
        encode(1, self, &[])
    }
}

impl Entry {
    pub(super) fn refused(credentials: bool) -> Bytes {
        Bytes::from(vec![VERSION, 2, u8::from(credentials), 0, 0, 0])
    }

    /// Returns the entry. `None` for bytes that are not of this form.
    pub(super) fn decode(bytes: &Bytes) -> Option<Self> {
        let (&[version, kind, a, b, c, d], rest) = bytes.split_first_chunk::<PREFIX>()?;
        if version != VERSION {
            return None;
        }
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        match kind {
            0 => {
                let head: Head<'_> = postcard::from_bytes(rest.get(..len)?).ok()?;
                let mut headers = HeaderMap::try_with_capacity(head.headers.len()).ok()?;
                for (name, value) in head.headers {
                    let name = HeaderName::try_from(name).ok()?;
                    headers.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
                }
                Some(Self::Response(Box::new(Stored {
                    meta: head.meta,
                    status: StatusCode::from_u16(head.status).ok()?,
                    headers,
                    body: bytes.slice(PREFIX + len..),
                })))
            }
            1 => Some(Self::Variants(postcard::from_bytes(rest.get(..len)?).ok()?)),
            2 => Some(Self::Refused { credentials: a != 0 }),
            _ => None,
        }
    }
}

fn encode(kind: u8, head: &impl Serialize, body: &[u8]) -> Option<Bytes> {
    let head = postcard::to_allocvec(head).ok()?;
    let mut res = BytesMut::with_capacity(PREFIX + head.len() + body.len());
    res.put_u8(VERSION);
    res.put_u8(kind);
    res.put_u32(u32::try_from(head.len()).ok()?);
    res.put_slice(&head);
    res.put_slice(body);
    Some(res.freeze())
}

/// Returns a number that no other response has.
pub(super) fn random_id(now: SystemTime) -> u128 {
    let nanos = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // The keys of the hasher are random.
    let random = RandomState::new().hash_one(nanos);
    nanos << 64 | u128::from(random)
}

/// Returns the fields that do not belong to one connection (RFC 9111, section 3.1).
pub(super) fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut res = headers.clone();
    for field in headers.get_all(CONNECTION) {
        // Bytes that are not text spoil one name and not all.
        for name in String::from_utf8_lossy(field.as_bytes()).split(',') {
            res.remove(name.trim());
        }
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        res.remove(name);
    }
    res
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn foreign_byte_does_not_hide_the_fields_of_the_connection() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_bytes(b"\xff, x-hop").unwrap());
        headers.insert("x-hop", HeaderValue::from_static("1"));
        headers.insert("x-end", HeaderValue::from_static("1"));
        let kept = without_connection(&headers);
        assert_eq!(kept.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-end"]);
    }
}
