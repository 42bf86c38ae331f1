//! The key of a request, and the digests by which it is stored and compared.

use http::{HeaderMap, request::Parts};
use sfv::{BareItem, Item, Parser};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::hex::hex;

/// Returns the value of `Idempotency-Key`: an item that is a string (RFC 9651, 3.3.3). Its
/// parameters have no meaning.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let item = Parser::new(value.as_bytes()).parse::<Item>();
    match item.map(|it| it.bare_item) {
        Ok(BareItem::String(key)) if !key.as_str().is_empty() && values.next().is_none() => {
            Ok(Some(key.as_str().to_owned()))
        }
        _ => Err(Problem::KeyInvalid),
    }
}

/// Returns the digest of a principal and its key. The length of the first separates both.
pub(super) fn scope(principal: &str, key: &str) -> String {
    digest([principal.as_bytes(), key.as_bytes()])
}

/// Returns the digest of all that must be equal in a repetition: method, path, query and body.
pub(super) fn fingerprint(parts: &Parts, body: &[u8]) -> String {
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    digest([parts.method.as_str().as_bytes(), target.as_bytes(), body])
}

fn digest<const N: usize>(texts: [&[u8]; N]) -> String {
    let mut hash = Sha256::new();
    for it in texts {
        hash.update((it.len() as u64).to_be_bytes());
        hash.update(it);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(values: &[&str]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        for it in values {
            headers.append("idempotency-key", it.parse().unwrap());
        }
        key(&headers)
    }

    #[test]
    fn key_is_a_string_of_a_structured_field() {
        let example = "8e03978e-40d5-43e8-bc93-6894a57f9324";
        assert_eq!(key_of(&[&format!("\"{example}\"")]).unwrap().as_deref(), Some(example));
        let escaped = key_of(&["  \"a\\\"b\\\\\"; x=1"]).unwrap();
        assert_eq!(escaped.as_deref(), Some("a\"b\\"));
        assert_eq!(key_of(&[]).unwrap(), None);
        for invalid in [example, "", "\"\"", "\"a", "\"a\" b", "\"a\", \"b\"", ":YQ==:", "token"] {
            assert!(key_of(&[invalid]).is_err(), "{invalid}");
        }
        assert!(key_of(&["\"a\"", "\"a\""]).is_err());
    }

    #[test]
    fn parts_of_a_digest_are_separated() {
        assert_ne!(scope("a", "bc"), scope("ab", "c"));
        assert_eq!(scope("a", "b"), scope("a", "b"));
    }
}
