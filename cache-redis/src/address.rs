//! The URLs of `location`.

use std::{fmt, path::PathBuf};

use cache_net::check_url;
use percent_encoding::percent_decode_str;
use url::Url;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// The credentials, the database and the protection of a connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    pub(crate) tls: bool,
}

/// The reason why a URL is invalid. The text does not contain the URL, which may hold a password.
type UrlError = String;

const FORM: &str = "expected redis://[[user]:password@]host[:port][/database], rediss://… for TLS, or \
                    redis+unix:///path/to.sock[?db=0&user=…&pass=…]";

/// Parses a URL.
pub(crate) fn parse(text: &str, default_port: u16) -> Result<(Address, Login), UrlError> {
    if let Some((host, port)) = text.rsplit_once(':')
        && !text.contains("//")
        && !host.is_empty()
        && port.parse::<u16>().is_ok()
    {
        return Err(format!("has no scheme; {FORM}"));
    }
    check_url(text)?;
    let url = Url::parse(text).map_err(|it| format!("is not a URL ({it}); {FORM}"))?;
    if url.fragment().is_some() {
        return Err(
            "has a fragment (`#…`), which is not supported; certificates are always verified"
                .into(),
        );
    }
    match url.scheme() {
        "redis" | "valkey" => tcp(&url, default_port, false),
        "rediss" | "valkeys" => tcp(&url, default_port, true),
        "redis+unix" | "valkey+unix" | "unix" => unix(&url),
        other => Err(format!("has the unknown scheme `{other}`; {FORM}")),
    }
}

fn tcp(url: &Url, default_port: u16, tls: bool) -> Result<(Address, Login), UrlError> {
    if url.query().is_some() {
        return Err(
            "has a query (`?…`), which is not supported; write such settings under `options`, as in `resp = 3`".into()
        );
    }
    let host = url.host_str().filter(|it| !it.is_empty());
    let host = host.ok_or_else(|| format!("has no host; {FORM}"))?;
    // A URL has brackets around an IPv6 address. They are not part of the address.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let login = Login {
        user: decoded(url.username())?,
        password: decoded(url.password().unwrap_or_default())?,
        database: database(url.path().trim_matches('/'))?,
        tls,
    };
    Ok((Address::Tcp { host, port: url.port().unwrap_or(default_port) }, login))
}

fn unix(url: &Url) -> Result<(Address, Login), UrlError> {
    if url.host_str().is_some_and(|it| !it.is_empty()) {
        return Err("has a host before its path; a unix socket has three slashes: redis+unix:///run/redis.sock".into());
    }
    let path = decoded(url.path())?.filter(|it| it != "/");
    let path = path.ok_or_else(|| format!("has no path; {FORM}"))?;
    let mut login = Login::default();
    for pair in url.query().into_iter().flat_map(|it| it.split('&')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "db" => login.database = database(value)?,
            "user" => login.user = decoded(value)?,
            "pass" => login.password = decoded(value)?,
            _ => {
                return Err(
                    "has an unknown query parameter; only db, user and pass are supported".into()
                );
            }
        }
    }
    Ok((Address::Unix(path.into()), login))
}

fn decoded(text: &str) -> Result<Option<String>, UrlError> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| "is not valid UTF-8")?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

fn database(text: &str) -> Result<i64, UrlError> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.parse().ok().filter(|it| (0..=i64::from(i32::MAX)).contains(it));
    number.ok_or_else(|| "has an invalid database number; expected …/0, …/1 and so on".into())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Leaves the password out.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn url_has_address_and_login() {
        let (address, login) = parse("redis://ada:s%40cret@cache.example:7000/3", 6379).unwrap();
        assert_eq!(address, tcp("cache.example", 7000));
        assert_eq!(login.user.as_deref(), Some("ada"));
        assert_eq!(login.password.as_deref(), Some("s@cret"));
        assert_eq!((login.database, login.tls), (3, false));

        let (address, login) = parse("rediss://:pw@[::1]", 6379).unwrap();
        assert_eq!(address, tcp("::1", 6379));
        assert_eq!(address.to_string(), "[::1]:6379");
        assert_eq!((login.user, login.password.as_deref(), login.tls), (None, Some("pw"), true));

        assert_eq!(parse("valkey://h", 26379).unwrap().0, tcp("h", 26379));
        assert_eq!(parse("REDIS://Cache.Example", 6379).unwrap().0, tcp("cache.example", 6379));
        let (address, login) = parse("redis+unix:///run/r%20s.sock?db=2&pass=x+%26", 6379).unwrap();
        assert_eq!(address, Address::Unix("/run/r s.sock".into()));
        assert_eq!((login.database, login.password.as_deref()), (2, Some("x+&")));
    }

    #[test]
    fn error_for_invalid_url_does_not_show_the_password() {
        for (url, expected) in [
            ("127.0.0.1:6379", "no scheme"),
            ("", "not a URL"),
            ("http://:marked@host", "unknown scheme `http`"),
            ("redis://:marked@", "not a URL"),
            ("redis:///0", "no host"),
            ("redis://:marked@host/zero", "invalid database number"),
            ("redis://:marked@host/-1", "invalid database number"),
            ("redis://:marked@host:99999", "not a URL"),
            ("redis://ada:pre@marked@host", "%40 for @"),
            ("redis://:marked#marked@host", "options.password"),
            ("redis://:marked%@host", "%25 for %"),
            ("redis://:marked@host?protocol=resp3", "resp = 3"),
            ("rediss://:marked@host/#insecure", "always verified"),
            ("redis+unix://", "no path"),
            ("redis+unix://run/redis.sock?pass=marked", "three slashes"),
            ("redis+unix:///run/redis.sock?password=marked", "db, user and pass"),
        ] {
            let error = parse(url, 6379).unwrap_err();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("marked"), "{error}");
        }
    }
}
