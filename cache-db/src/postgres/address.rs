//! The URL in `location`.

use std::fmt;

use tokio_postgres::{
    Config,
    config::{ChannelBinding, Host},
};

/// The servers as errors name them, without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

const FORM: &str = "expected postgres://[user[:password]@]host[:port][/database][?sslmode=disable|require&…]; percent-encode special \
                    characters of the password (@ is %40), or set options.password";
const NAME: &str = "cache-db";

/// Parses a URL. The error does not show it.
pub(crate) fn parse(url: &str) -> Result<(Config, Address), String> {
    cache_net::check_url(url)?;
    // The client's own error may quote a part of the URL.
    let mut config: Config = url.parse().map_err(|_| format!("is not a valid URL; {FORM}"))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(format!("names no host; {FORM}"));
    }
    if config.get_channel_binding() == ChannelBinding::Require {
        return Err(
            "requires channel_binding, which is not supported; remove channel_binding=require"
                .into(),
        );
    }
    let parameters = url.split_once('?').map_or("", |it| it.1);
    if parameters
        .split('&')
        .any(|it| it.starts_with("keepalives") || it.starts_with("tcp_user_timeout"))
    {
        return Err("sets keepalives or tcp_user_timeout, which are not supported: every connection has keepalive; \
                    remove them"
            .into());
    }
    if config.get_application_name().is_none() {
        config.application_name(NAME);
    }
    let address = Address::of(&config);
    Ok((config, address))
}

impl Address {
    fn of(config: &Config) -> Self {
        let ports = config.get_ports();
        // One port may apply to all hosts.
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let names = config.get_hosts().iter().enumerate().map(|(i, host)| match host {
            Host::Tcp(host) if host.contains(':') => format!("[{host}]:{}", port(i)),
            Host::Tcp(host) => format!("{host}:{}", port(i)),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let mut names: Vec<String> = names.collect();
        if names.is_empty() {
            let addresses = config.get_hostaddrs().iter().enumerate();
            names.extend(addresses.map(|(i, it)| format!("{it}:{}", port(i))));
        }
        Self(names.join(", "))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_gives_address_and_credentials() {
        let (config, address) = parse("postgres://ada:s%40cret@db.example:7000/shop").unwrap();
        assert_eq!(address.to_string(), "db.example:7000");
        assert_eq!(config.get_password(), Some(&b"s@cret"[..]));
        assert_eq!((config.get_user(), config.get_dbname()), (Some("ada"), Some("shop")));
        assert_eq!(config.get_application_name(), Some("cache-db"));

        let name = |url: &str| parse(url).unwrap().1.to_string();
        assert_eq!(name("postgresql://h"), "h:5432");
        assert_eq!(name("postgres://a:1,b:2/d?target_session_attrs=read-write"), "a:1, b:2");
        assert_eq!(name("postgres://%2Frun%2Fpostgresql/d"), "/run/postgresql");
    }

    #[test]
    fn invalid_url_is_refused_without_showing_the_password() {
        for (url, expected) in [
            ("postgres://u:marked@", "names no host"),
            ("postgres://u:marked@h:port", "not a valid URL"),
            ("postgres://u:pre@marked@h/d", "options.password"),
            ("postgres://u:p@h/d?keepalives_idle=3", "keepalive"),
            ("postgres://u:p@h/d?marked=1", "not a valid URL"),
            ("postgres://u:marked@h/d?sslmode=verify-full", "sslmode=disable|require"),
            ("postgres://u:marked@h/d?channel_binding=require", "channel_binding"),
        ] {
            let error = parse(url).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("marked"), "{error}");
        }
    }
}
