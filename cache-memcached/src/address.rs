//! The servers in `location`.

use std::{fmt, path::PathBuf};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

const DEFAULT_PORT: u16 = 11_211;
const FORM: &str = "expected host:port, [IPv6 address]:port, unix:///path/to.sock, or several of them separated by `;` \
                    or `,`";

impl Address {
    /// Parses one entry, which may be a list, as in Django.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split([';', ',']).map(|it| Self::parse(it.trim())).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::parse_unix(path.strip_prefix("//").unwrap_or(path));
        }
        if text.starts_with('/') {
            return Err(format!("is the path of a unix socket without its scheme; {FORM}"));
        }
        let schemes = ["memcached://", "memcache://"];
        let rest = schemes.iter().find_map(|it| text.strip_prefix(it)).unwrap_or(text);
        let text = rest.trim_end_matches('/');
        if text.contains('@') {
            return Err(format!(
                "has a user or a password; set options.username and options.password instead; {FORM}"
            ));
        }
        if text.contains(['/', '?', '#']) || text.contains(char::is_whitespace) {
            return Err(format!("is not a server address; {FORM}"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| format!("has a `[` without its `]`; {FORM}"))?;
                (host, port.strip_prefix(':').map_or((port.is_empty()).then_some(""), Some))
            }
            None => match text.split_once(':') {
                Some((_, rest)) if rest.contains(':') => {
                    return Err(format!(
                        "has several colons; write an IPv6 address in brackets; {FORM}"
                    ));
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port {
            Some("") => Some(DEFAULT_PORT),
            Some(port) => port.parse().ok().filter(|it| *it > 0),
            None => None,
        };
        match port {
            Some(port) if !host.is_empty() => {
                Ok(Self::Tcp { host: host.to_ascii_lowercase(), port })
            }
            Some(_) => Err(format!("has no host; {FORM}")),
            None => Err(format!("has an invalid port; expected a number from 1 to 65535; {FORM}")),
        }
    }

    fn parse_unix(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(format!(
                "names a unix socket without its absolute path, as in unix:///run/memcached.sock; {FORM}"
            ));
        }
        Ok(Self::Unix(path.into()))
    }
}

/// The servers of a key are computed from this text, so it must not change between releases.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<String>, String> {
        Ok(Address::parse_all(text)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn servers_are_parsed_in_all_notations() {
        assert_eq!(all("a:1").unwrap(), ["a:1"]);
        assert_eq!(all("Cache.Example").unwrap(), ["cache.example:11211"]);
        assert_eq!(all("[::1]:11212").unwrap(), ["[::1]:11212"]);
        assert_eq!(all("[::1]").unwrap(), ["[::1]:11211"]);
        assert_eq!(all("a:1; b:2,c").unwrap(), ["a:1", "b:2", "c:11211"]);
        assert_eq!(all("memcached://a:1").unwrap(), ["a:1"]);
        assert_eq!(all("memcache://a:1/").unwrap(), ["a:1"]);
        assert_eq!(all("unix:///run/M c@d.sock").unwrap(), ["/run/M c@d.sock"]);
        assert_eq!(all("unix:/run/a.sock; b").unwrap(), ["/run/a.sock", "b:11211"]);
    }

    #[test]
    fn error_for_invalid_address_does_not_show_the_password() {
        for (text, what) in [
            ("", "no host"),
            (":11211", "no host"),
            ("a:0", "port"),
            ("a:x", "port"),
            ("a:99999", "port"),
            ("a:1;", "no host"),
            ("::1", "brackets"),
            ("[::1", "without its"),
            ("[::1]x", "port"),
            ("/run/memcached.sock", "unix socket"),
            ("unix:run/memcached.sock", "absolute path"),
            ("unix://run/memcached.sock", "absolute path"),
            ("unix:///", "absolute path"),
            ("unix:", "absolute path"),
            ("http://a", "not a server"),
            ("user:secret@a:1", "a password"),
            ("memcached://user:pre@secret@a:1", "a password"),
            ("memcached://user:pre/secret#@a:1", "a password"),
            ("user:pre,secret@a:1", "port"),
            ("a b", "not a server"),
        ] {
            let error = all(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
