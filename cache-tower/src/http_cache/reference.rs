//! References to URLs, as RFC 3986 resolves them: byte for byte, because the keys are so.

use http::Uri;

/// A URL whose scheme does not matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The scheme and the authority, if the reference has an authority.
    pub(super) authority: Option<(Option<String>, String)>,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// Resolves a reference in a response for this URL (RFC 3986, section 5.2.2). `None` for a URL
/// that has another form than those of HTTP.
pub(super) fn resolve(base: &Uri, reference: &str) -> Option<Resolved> {
    let reference = reference.trim().split('#').next()?;
    let (scheme, rest) = scheme(reference);
    if let Some(rest) = rest.strip_prefix("//") {
        let len = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(len);
        let (path, query) = with_query(rest);
        let authority = Some((scheme.map(str::to_ascii_lowercase), authority.to_owned()));
        return Some(Resolved { authority, path: without_dots(path), query });
    }
    if scheme.is_some() {
        return None;
    }
    let (path, query) = with_query(rest);
    let (path, query) = if path.is_empty() {
        let query = query.or_else(|| base.query().map(str::to_owned));
        (base.path().to_owned(), query)
    } else if path.starts_with('/') {
        (without_dots(path), query)
    } else {
        let (folder, _) = base.path().rsplit_once('/').unwrap_or_default();
        (without_dots(&format!("{folder}/{path}")), query)
    };
    Some(Resolved { authority: None, path, query })
}

/// Splits a reference at the end of its scheme, if it has one.
fn scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|it: char| it.is_ascii_alphabetic())
                && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it)) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, reference),
    }
}

fn with_query(rest: &str) -> (&str, Option<String>) {
    match rest.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (rest, None),
    }
}

/// Removes the dot segments of a path that begins with a slash or is empty (section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut segments = Vec::new();
    let mut is_folder = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    if is_folder {
        segments.push("");
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(reference: &str) -> Option<String> {
        let base = "http://a/b/c/d;p?q".parse().unwrap();
        let Resolved { authority, path, query } = resolve(&base, reference)?;
        let authority = authority.map_or_else(String::new, |(_, it)| format!("//{it}"));
        let query = query.map_or_else(String::new, |it| format!("?{it}"));
        Some(format!("{authority}{path}{query}"))
    }

    // The examples of RFC 3986, sections 5.4.1 and 5.4.2, without fragments.
    #[test]
    fn references_are_resolved_as_the_standard_says() {
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("//g", "//g/"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x", "/b/c/g;x"),
            ("g;x?y#s", "/b/c/g;x?y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            (".g", "/b/c/.g"),
            ("g..", "/b/c/g.."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("g#s/../x", "/b/c/g"),
            // Not of the standard.
            ("g?u=http://h/", "/b/c/g?u=http://h/"),
            ("g//h/..", "/b/c/g//"),
            ("HTTPS://h:1?y", "//h:1/?y"),
        ] {
            assert_eq!(resolved(reference).as_deref(), Some(expected), "{reference}");
        }
        for other in ["g:h", "http:g", "mailto:a@b"] {
            assert_eq!(resolved(other), None, "{other}");
        }
    }

    #[test]
    fn schemes_are_compared_without_regard_to_case() {
        let base = "/".parse().unwrap();
        let authority = resolve(&base, "HTTPS://a/").unwrap().authority;
        assert_eq!(authority, Some((Some("https".to_owned()), "a".to_owned())));
    }
}
