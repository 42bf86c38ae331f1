//! Parsing and addition of the integers of [`incr`](crate::store::Backend::incr), for stores that
//! do the arithmetic themselves: decimal text, the same rules for every store.
//!
//! ```
//! use cache_core::{ErrorKind, store::integer};
//!
//! assert_eq!(integer::add(integer::parse(b"-41")?, 83)?, 42);
//! assert_eq!(integer::parse(b"+5").unwrap_err().kind(), ErrorKind::NotAnInteger);
//! assert_eq!(integer::add(i64::MAX, 1).unwrap_err().kind(), ErrorKind::Overflow);
//! # Ok::<_, cache_core::Error>(())
//! ```

use std::str;

use crate::error::{Error, ErrorKind, Result};

/// Parses an integer of the form `0|-?[1-9][0-9]*` within `i64`.
///
/// # Errors
/// `NotAnInteger` for every other text, such as `+5`, `007`, `-0`, `" 1"` or `"41"`.
pub fn parse(text: &[u8]) -> Result<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = text == b"0"
        || matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    let text = canonical.then(|| str::from_utf8(text).ok()).flatten();
    // Only a number outside `i64` still fails here.
    text.and_then(|it| it.parse().ok()).ok_or_else(not_an_integer)
}

/// Returns `value + delta`.
///
/// # Errors
/// `Overflow` if the sum is outside `i64`.
pub fn add(value: i64, delta: i64) -> Result<i64> {
    value
        .checked_add(delta)
        .ok_or_else(|| Error::new(ErrorKind::Overflow, "the result is outside i64"))
}

/// The message omits the value, which may be a secret.
#[cold]
fn not_an_integer() -> Error {
    Error::new(ErrorKind::NotAnInteger, "the stored value is not a decimal integer within i64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_integers_survive_a_round_trip() {
        for value in [0, 1, -1, 10, -100, i64::MAX, i64::MIN] {
            assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for odd in [
            "",
            "-",
            "+5",
            "007",
            "-0",
            "00",
            "-01",
            " 1",
            "1 ",
            "1\n",
            "12abc",
            "\"41\"",
            "true",
            "1.0",
            "1e3",
            "0x1",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "٣",
        ] {
            assert_eq!(
                parse(odd.as_bytes()).unwrap_err().kind(),
                ErrorKind::NotAnInteger,
                "{odd:?}"
            );
        }
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn sums_outside_i64_are_overflows() {
        assert_eq!(add(i64::MAX, 1).unwrap_err().kind(), ErrorKind::Overflow);
        assert_eq!(add(i64::MIN, -1).unwrap_err().kind(), ErrorKind::Overflow);
        assert_eq!(add(i64::MAX, i64::MIN).unwrap(), -1);
    }
}
