//! The tags of a response: the fields `Cache-Tag` and `Surrogate-Key`.

use http::HeaderMap;

/// The most tags that an entry may have.
const MAX: usize = 64;

/// Returns the tags of a response. `None` if there are more than an entry may have.
pub(super) fn of(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut res = Vec::new();
    // The first has a list with commas, the second one with spaces.
    for (name, separator) in [("cache-tag", ','), ("surrogate-key", ' ')] {
        for field in headers.get_all(name) {
            let field = field.to_str().ok()?;
            let tags = field.split(separator).map(str::trim).filter(|it| !it.is_empty());
            res.extend(tags.map(str::to_owned));
        }
    }
    res.sort_unstable();
    res.dedup();
    (res.len() <= MAX).then_some(res)
}
