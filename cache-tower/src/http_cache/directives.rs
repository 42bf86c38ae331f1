//! The field `Cache-Control` of a request or a response.

use http::{HeaderMap, header::CACHE_CONTROL};

/// The greatest number of seconds of a directive: a greater one counts as this one (RFC 9111,
/// section 1.2.2).
pub(super) const MAX_SECONDS: u64 = 1 << 31;

/// The directives of all `Cache-Control` fields, with names in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Directives {
    all: Vec<(String, Option<String>)>,
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut all = Vec::new();
        for field in headers.get_all(CACHE_CONTROL) {
            // Bytes that are not text stay inside of their directive, which no rule knows.
            let field = String::from_utf8_lossy(field.as_bytes());
            for member in split_outside_quotes(&field, ',') {
                let (name, value) = match member.split_once('=') {
                    Some((name, value)) => (name, Some(unquoted(value))),
                    None => (member, None),
                };
                let name = name.trim().to_ascii_lowercase();
                if !name.is_empty() {
                    all.push((name, value));
                }
            }
        }
        Self { all }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(it, _)| it == name)
    }

    /// Returns the seconds of a directive. `None` if it is absent, and zero if its value is
    /// invalid. Of several values, the smallest one counts.
    pub(super) fn seconds(&self, name: &str) -> Option<u64> {
        let values = self.all.iter().filter(|(it, _)| it == name);
        values.map(|(_, value)| value.as_deref().and_then(seconds).unwrap_or(0)).min()
    }

    /// Returns the value of `max-stale`: without a number, a response of any age.
    pub(super) fn max_stale(&self) -> Option<u64> {
        let (_, value) = self.all.iter().find(|(it, _)| it == "max-stale")?;
        match value {
            None => Some(MAX_SECONDS),
            Some(value) => Some(seconds(value).unwrap_or(0)),
        }
    }
}

/// Returns a number of seconds: digits only.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// Splits at a separator, except inside of quoted strings.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> + use<'_> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |it: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match it {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        it == separator && !quoted
    })
}

fn unquoted(value: &str) -> String {
    let value = value.trim();
    match value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
        Some(inner) => inner.replace('\\', ""),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn directives(fields: &[&'static str]) -> Directives {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(field));
        }
        Directives::of(&headers)
    }

    #[test]
    fn names_are_found_in_any_case_and_in_all_fields() {
        let it = directives(&["Max-Age=60,  PRIVATE", "foo=\"a, no-store\""]);
        assert_eq!(it.seconds("max-age"), Some(60));
        assert!(it.has("private"));
        assert!(!it.has("no-store"), "it is inside of a quoted string");
    }

    #[test]
    fn invalid_seconds_are_zero_and_large_ones_are_bounded() {
        for (field, expected) in [
            ("max-age=\"60\"", 60),
            ("max-age=1.5", 0),
            ("max-age=-1", 0),
            ("max-age", 0),
            ("max-age=60, max-age=30", 30),
            ("max-age=99999999999999999999999", MAX_SECONDS),
        ] {
            assert_eq!(directives(&[field]).seconds("max-age"), Some(expected), "{field}");
        }
        assert_eq!(directives(&["public"]).seconds("max-age"), None);
    }
}
