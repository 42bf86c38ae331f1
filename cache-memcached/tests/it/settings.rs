//! An invalid setting is an error when the settings are read. The error names the setting and shows
//! no value.

use cache_core::{Caches, ErrorKind};

use crate::support::toml;

const OPTIONS: &str = "[caches.default.options]\n";

fn error(location: &[&str], options: &str) -> String {
    let toml = toml(location, &format!("{OPTIONS}{options}"));
    let error = Caches::from_toml(&toml).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("marked"), "{text}");
    }
    error.to_string()
}

/// Without a breaker, no server is known to be down.
#[test]
fn when_down_next_requires_a_breaker() {
    let more = format!("breaker.enabled = false\n{OPTIONS}when_down = 'next'");
    let error = Caches::from_toml(&toml(&["a", "b"], &more)).unwrap_err().to_string();
    assert!(error.contains("caches.default.options.when_down"), "{error}");
    assert!(error.contains("breaker.enabled"), "{error}");
}

#[test]
fn invalid_setting_is_named() {
    let one = &["marked-host:11211"][..];
    let two = &["marked-a", "marked-b:11212"][..];
    for (location, options, setting, what) in [
        (&[][..], "", "location", "is missing"),
        (&[""], "", "location", "no host"),
        (&["user:marked@host"], "", "location", "a password"),
        (&["memcached://user:pre@marked@host:1"], "", "location", "a password"),
        (&["memcached://user:pre/marked?#@host:1"], "", "location", "a password"),
        (&["user:1;marked@host"], "", "location", "a password"),
        (&["http://marked-host"], "", "location", "not a server"),
        (&["marked host"], "", "location", "not a server"),
        (&["marked-host:x"], "", "location", "1 to 65535"),
        (&["marked-host:70000"], "", "location", "1 to 65535"),
        (&["/run/marked.sock"], "", "location", "unix socket"),
        (&["fe80::marked"], "", "location", "brackets"),
        (&["a", "marked-host:0"], "", "location", "entry 2"),
        (&["marked-a", "marked-a:11211"], "", "location", "duplicate server"),
        (&["marked-a; marked-b, MARKED-A"], "", "location", "duplicate server"),
        (two, "weights = [1]", "options.weights", "1 numbers for 2 servers"),
        (two, "weights = [1, 0]", "options.weights", "1 to 100"),
        (two, "weights = [101, 1]", "options.weights", "1 to 100"),
        (two, "weights = [1, -1]", "options.weights", ""),
        (two, "weights = 'marked'", "options.weights", ""),
        (two, "when_down = 'marked'", "options.when_down", "next"),
        (one, "connections = 0", "options.connections", "1 to 64"),
        (one, "connections = 65", "options.connections", "1 to 64"),
        (one, "max_value_bytes = 0", "options.max_value_bytes", "1 GiB"),
        (one, "max_value_bytes = '2GiB'", "options.max_value_bytes", "1 GiB"),
        (one, "max_value_bytes = 'marked'", "options.max_value_bytes", ""),
        (one, "pool = 3", "options", "connections"),
        (one, "user = 'marked'", "options", "weights"),
        (one, "username = 'marked'", "options.password", "is missing"),
        (one, "password = 'marked'", "options.username", "is missing"),
        (one, "username = 'a'\npassword = ''", "options.password", "is empty"),
        (one, "username = 'marked 1'\npassword = 'b'", "options.username", "a space"),
        (
            one,
            "username = 'a'\npassword = \"marked\\r\\nflush_all\"",
            "options.password",
            "a space",
        ),
        (one, "tls = { insecure = true }", "options.tls", "ca_file"),
        (&["unix:marked.sock"], "", "location", "absolute path"),
        (&["unix:///marked.sock", "unix:/marked.sock"], "", "location", "duplicate server"),
    ] {
        let text = error(location, options);
        assert!(text.contains(&format!("caches.default.{setting}")), "{options}: {text}");
        assert!(text.contains(what), "{options}: {text}");
    }
}

/// "Building `Caches` reads and checks all settings, connects nowhere, needs no runtime."
#[test]
fn valid_settings_build_without_a_server_and_a_runtime() {
    for (location, options) in [
        (&["127.0.0.1:1"][..], ""),
        (&["localhost", "[::1]:11212"], "weights = [1, 100]\nwhen_down = 'next'"),
        (&["a:1; b:2, c"], "weights = [1, 2, 3]\nwhen_down = 'miss'"),
        (&["memcached://no-such-host"], "connections = 1\nmax_value_bytes = '1GiB'"),
        (&["unix:///no/such.sock", "a"], "username = 'a'\npassword = 'b'\nconnections = 64"),
    ] {
        Caches::from_toml(&toml(location, &format!("{OPTIONS}{options}"))).unwrap();
    }
}
