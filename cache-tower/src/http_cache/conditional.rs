//! Conditional requests: 304 for the client, and revalidation of a stored response.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE,
        DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED, VARY,
    },
};

use super::freshness::{date, insert_date};

/// The fields of a 304 response (RFC 9110, section 15.4.5), and what this crate adds.
const KEPT: [HeaderName; 7] = [AGE, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY];

/// The fields of the stored body, which a 304 does not change: its digests with them.
const OF_BODY: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Returns whether a request has a condition that only the service can evaluate.
pub(super) fn has_precondition(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE)
}

/// Returns whether the client has the response already (RFC 9110, section 13.2.2).
pub(super) fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        let tag = response.get(ETAG).map(HeaderValue::as_bytes);
        return request.get_all(IF_NONE_MATCH).iter().any(|it| lists(it, tag));
    }
    // Without `Last-Modified`, the date of the response counts (RFC 9111, section 4.3.2).
    let modified = if response.contains_key(LAST_MODIFIED) { LAST_MODIFIED } else { DATE };
    match (date(request, IF_MODIFIED_SINCE), date(response, modified)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Turns the fields of a response into those of a 304.
pub(super) fn to_not_modified(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names {
        if !KEPT.contains(&name) && name != "cache-status" {
            headers.remove(name);
        }
    }
}

/// Replaces the client's conditions by those that revalidate a stored response.
pub(super) fn revalidate(request: &mut HeaderMap, stored: Option<&HeaderMap>) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
    let Some(stored) = stored else { return };
    if let Some(tag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Returns whether a 304 is about the stored response (RFC 9111, section 4.3.4): not if it names
/// another version. One that names none answers the condition of its request.
pub(super) fn is_about(stored: &HeaderMap, response: &HeaderMap) -> bool {
    if let Some(new) = response.get(ETAG).map(HeaderValue::as_bytes) {
        let old = stored.get(ETAG).map(HeaderValue::as_bytes);
        // A strong tag names one version only, byte for byte.
        let is_weak = new.trim_ascii().starts_with(b"W/");
        return old
            .is_some_and(|old| if is_weak { opaque(old) == opaque(new) } else { old == new });
    }
    match (date(stored, LAST_MODIFIED), date(response, LAST_MODIFIED)) {
        (Some(old), Some(new)) => old == new,
        _ => true,
    }
}

/// Updates the fields of a stored response with those of a 304 (RFC 9111, section 3.2).
pub(super) fn update(stored: &mut HeaderMap, response: &HeaderMap, now: SystemTime) {
    // Without a date, the 304 is of this moment: its lifetime and its age count from it.
    insert_date(stored, DATE, now);
    for name in response.keys() {
        if OF_BODY.contains(name) {
            continue;
        }
        stored.remove(name);
        for value in response.get_all(name) {
            stored.append(name, value.clone());
        }
    }
}

/// Returns whether the tag is in a list: by weak comparison (RFC 9110, section 8.8.3.2).
fn lists(list: &HeaderValue, tag: Option<&[u8]>) -> bool {
    let list = list.as_bytes();
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(tag) = tag else { return false };
    // A tag is not a quoted string: it may have other bytes than text, and has no escapes.
    let mut quoted = false;
    let mut tags = list.split(|it| {
        quoted ^= *it == b'"';
        *it == b',' && !quoted
    });
    tags.any(|it| opaque(it) == opaque(tag))
}

fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.trim_ascii();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_found_beside_and_with_bytes_that_are_not_ascii() {
        let lists = |list: &'static [u8], tag: &[u8]| {
            lists(&HeaderValue::from_bytes(list).unwrap(), Some(tag))
        };
        assert!(lists(b"\"\xff\", W/\"a\"", b"\"a\""));
        assert!(lists(b"\"a, b\", \"\xff\"", b"\"\xff\""));
        assert!(!lists(b"\"\xff\"", b"\"\xfe\""), "other bytes are another tag");
        assert!(lists(b"\"a\\\", \"b\"", b"\"b\""), "a tag has no escapes");
        assert!(!lists(b"\"a, \"b\", c\"", b"\"b\""));
    }
}
