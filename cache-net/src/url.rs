//! Signs in the URL of a `location` that mean something else there than their writer meant.

/// Checks that user and password of a URL are written as in one. A sign that ends them early would make the rest of a password the
/// name of a host, which errors show and the DNS is asked for. Every store checks it before it reads a URL of its settings.
///
/// # Errors
/// What is wrong and what to do, as the end of a sentence that begins with the name of the setting. It shows nothing of the URL.
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
    // A `@` behind the host stands in the rest of a password, or could as well be encoded; a path of its own may have any.
    let ends_early = !authority.is_empty() && after.contains('@');
    let (login, more) = match authority.rsplit_once('@') {
        Some((login, _)) => (login, login.contains('@')),
        None => ("", false),
    };
    if more || ends_early {
        return Err(format!("has a `@` where none is expected; {ADVICE}"));
    }
    if !is_encoded(login) {
        return Err(format!("has a `%` that is not followed by two digits from 0 to F; {ADVICE}"));
    }
    Ok(())
}

const ADVICE: &str = "in a user or a password of a URL write %40 for @, %23 for #, %2F for /, %3F for ? and %25 for %, or set \
                      options.username and options.password, which take them as they are, and \"${VARIABLE}\", too";

fn is_encoded(text: &str) -> bool {
    let digits =
        |it: &str| it.as_bytes().get(..2).is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit));
    text.split('%').skip(1).all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_they_should_be_are_let_through() {
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
    fn passwords_with_signs_that_are_not_encoded_are_refused_and_not_shown() {
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
