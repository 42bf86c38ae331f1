//! Requests for a part of a stored response (RFC 9110, section 14).

use std::ops::Range;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
        CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES,
        IF_RANGE, LAST_MODIFIED, RANGE,
    },
};

use super::freshness::date;

/// The answer to a range.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The whole response: the range is invalid, is not of bytes, has several parts, or is of
    /// another version of the resource.
    Whole,
    Of(Range<usize>),
    Unsatisfiable,
}

/// Returns the part of a stored response that a request asks for.
pub(super) fn part(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    len: usize,
) -> Part {
    let mut fields = request.get_all(RANGE).iter();
    let (Some(range), None) = (fields.next(), fields.next()) else { return Part::Whole };
    if status != StatusCode::OK || !is_of_this_version(request, response) {
        return Part::Whole;
    }
    range.to_str().ok().and_then(|it| parse(it, len)).unwrap_or(Part::Whole)
}

/// The fields of the content of a whole response (RFC 9530). `Repr-Digest` and `Digest` are those
/// of the whole also in a response that has a part of it.
const OF_CONTENT: [HeaderName; 3] = [CONTENT_LENGTH, CONTENT_DIGEST, CONTENT_MD5];
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The fields of the whole response that are wrong in an error: a cache outside would store the
/// error for their lifetime, or take it for a version of the response.
const NOT_OF_ERROR: [HeaderName; 15] = [
    AGE,
    CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    DATE,
    HeaderName::from_static("digest"),
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("surrogate-control"),
];

/// Turns the fields of a whole response into those of a part of it.
pub(super) fn to_part(headers: &mut HeaderMap, part: &Range<usize>, len: usize) {
    remove(headers, &OF_CONTENT);
    let range = format!("bytes {}-{}/{len}", part.start, part.end - 1);
    if let Ok(value) = HeaderValue::try_from(range) {
        headers.insert(CONTENT_RANGE, value);
    }
}

/// Turns the fields of a whole response into those of a 416.
pub(super) fn to_unsatisfiable(headers: &mut HeaderMap, len: usize) {
    remove(headers, &OF_CONTENT);
    remove(headers, &NOT_OF_ERROR);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{len}")) {
        headers.insert(CONTENT_RANGE, value);
    }
}

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// Evaluates `If-Range` (RFC 9110, section 13.1.5).
fn is_of_this_version(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    if let Some(expected) = date(request, IF_RANGE) {
        // A date is a strong validator only if it is older than the response by a second.
        let modified = date(response, LAST_MODIFIED);
        let sent = date(response, DATE);
        return modified == Some(expected) && sent.is_some_and(|it| it > expected);
    }
    let is_strong = condition.as_bytes().starts_with(b"\"");
    is_strong && response.get(ETAG) == Some(condition)
}

/// Returns `None` for what is not one range of bytes.
fn parse(range: &str, len: usize) -> Option<Part> {
    let (unit, range) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    // Digits only: `parse` would take a sign.
    let number = |it: &str| {
        let is_number = !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| it.parse().unwrap_or(usize::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(if suffix == 0 || len == 0 {
            Part::Unsatisfiable
        } else {
            Part::Of(len.saturating_sub(suffix)..len)
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { usize::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first >= len {
        Part::Unsatisfiable
    } else {
        Part::Of(first..last.saturating_add(1).min(len))
    })
}
