//! The servers of `location`.

use std::fmt;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

const DEFAULT_PORT: u16 = 11_211;
const FORM: &str =
    "expected host:port, [IPv6 address]:port, or several of them separated by `;` or `,`";

impl Address {
    /// Those of one entry, which may be a list of its own as Django has it.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split([';', ',']).map(|it| Self::parse(it.trim())).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') || text.starts_with("unix:") {
            return Err(format!("names a unix socket, which this client does not speak; {FORM}"));
        }
        let schemes = ["memcached://", "memcache://"];
        let rest = schemes.iter().find_map(|it| text.strip_prefix(it)).unwrap_or(text);
        let text = rest.trim_end_matches('/');
        if text.contains('@') {
            return Err(format!(
                "names a user or a password, which this client does not send; {FORM}"
            ));
        }
        if text.contains(['/', '?', '#']) || text.contains(char::is_whitespace) {
            return Err(format!("is no server; {FORM}"));
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
                        "has several colons; an IPv6 address stands in brackets; {FORM}"
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
            Some(port) if !host.is_empty() => Ok(Self { host: host.to_ascii_lowercase(), port }),
            Some(_) => Err(format!("names no host; {FORM}")),
            None => Err(format!("has a port that is no number from 1 to 65535; {FORM}")),
        }
    }
}

/// As it counts for hashing: it must not change from release to release.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<String>, String> {
        Ok(Address::parse_all(text)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn servers_are_read_in_all_notations() {
        assert_eq!(all("a:1").unwrap(), ["a:1"]);
        assert_eq!(all("Cache.Example").unwrap(), ["cache.example:11211"]);
        assert_eq!(all("[::1]:11212").unwrap(), ["[::1]:11212"]);
        assert_eq!(all("[::1]").unwrap(), ["[::1]:11211"]);
        assert_eq!(all("a:1; b:2,c").unwrap(), ["a:1", "b:2", "c:11211"]);
        assert_eq!(all("memcached://a:1").unwrap(), ["a:1"]);
        assert_eq!(all("memcache://a:1/").unwrap(), ["a:1"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
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
            ("unix:/run/memcached.sock", "unix socket"),
            ("http://a", "no server"),
            ("user:secret@a:1", "a password"),
            ("memcached://user:pre@secret@a:1", "a password"),
            ("memcached://user:pre/secret#@a:1", "a password"),
            ("user:pre,secret@a:1", "port"),
            ("a b", "no server"),
        ] {
            let error = all(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
