//! A check of URLs for characters that must be percent-encoded.

/// Checks that user and password of a URL are percent-encoded. A character that ends them too early
/// would turn the rest of a password into a host name, which errors show and DNS queries contain.
/// Every store checks a URL before it parses it.
///
/// # Errors
/// The problem and the remedy, as the end of a sentence that begins with the name of the setting.
/// It contains no part of the URL.
///
/// ```
/// use cache_net::check_url;
///
/// assert!(check_url("redis://ada:s%40cret@cache.example:6379/0").is_ok());
/// assert!(check_url("redis:///run/redis.sock?pass=100%25").is_ok());
///
/// let error = check_url("redis://ada:marked@pw@cache.example").unwrap_err();
/// assert!(error.contains("%40") && error.contains("options.password"));
/// for unencoded in ["marked#1", "marked/1", "marked?1", "marked%", "marked%4"] {
///     let error = check_url(&format!("redis://ada:{unencoded}@cache.example")).unwrap_err();
///     assert!(!error.contains("marked"));
/// }
/// ```
pub fn check_url(url: &str) -> Result<(), String> {
    let Some((_, rest)) = url.split_once("://") else { return Ok(()) };
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A `@` after the host is either part of a password or can be encoded. A URL without a host may
    // have one in its path.
    let ends_early = !authority.is_empty() && after.contains('@');
    let (login, more) = match authority.rsplit_once('@') {
        Some((login, _)) => (login, login.contains('@')),
        None => ("", false),
    };
    if more || ends_early {
        return Err(format!("has an unexpected `@`; {ADVICE}"));
    }
    if !is_encoded(login) {
        return Err(format!("has a `%` without two hexadecimal digits after it; {ADVICE}"));
    }
    Ok(())
}

const ADVICE: &str = "percent-encode user and password in a URL (%40 for @, %23 for #, %2F for /, %3F for ?, \
                      %25 for %), or set options.username and options.password, which need no encoding and \
                      allow \"${VARIABLE}\"";

fn is_encoded(text: &str) -> bool {
    let digits =
        |it: &str| it.as_bytes().get(..2).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_url_is_accepted() {
        for url in [
            "",
            "127.0.0.1:6379",
            "redis://h",
            "redis://ada@h:1/2",
            "rediss://:p%25%2f%3F@[::1]:6379/0",
            "redis://ada:a:b@h",
            "redis+unix:///run/a@b.sock?db=0&pass=x@y",
            "postgres://a:1,b:2/d?sslmode=disable",
            "postgres://ada:pw@a:1,b:2/d",
            "postgres://%2Frun%2Fpostgresql/d",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn unencoded_password_is_refused_and_not_shown() {
        for url in [
            "redis://ada:marked@marked@h",
            "redis://ada:marked@marked/marked@h",
            "redis://:marked#marked@h",
            "redis://:marked?marked@h/0",
            "redis://marked/marked:x@h",
            "redis://:marked/marked@h",
            "redis://:marked%@h",
            "redis://:marked%4@h",
            "redis://:marked%zzmarked@h",
            "redis://:%é@h",
            "redis://mark%xed:pw@h",
            "postgres://ada:marked@marked@h/d",
            "postgres://ada:marked#@h/d",
            "postgres://ada:mar/ked@a:1,b:2/d",
        ] {
            let error = check_url(url).unwrap_err();
            assert!(!error.contains("marked") && error.contains("options.password"), "{error}");
        }
    }
}
