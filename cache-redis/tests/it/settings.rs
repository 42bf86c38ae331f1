//! An invalid setting is an error when the settings are read. The error names the setting and shows
//! no value. Valid settings do not connect.

use cache_core::{Caches, ErrorKind};

use crate::support::{OPTIONS, toml};

fn error(location: &[&str], options: &str) -> String {
    let toml = toml(location, &format!("{OPTIONS}{options}"));
    let error = Caches::from_toml(&toml).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("marked"), "{text}");
    }
    error.to_string()
}

#[test]
fn invalid_setting_is_named() {
    let one = &["redis://:marked@host"][..];
    let two = &["redis://:marked@a", "redis://:marked@b"][..];
    for (location, options, setting, what) in [
        (&[][..], "", "location", "is missing"),
        (&["host:6379"], "", "location", "no scheme"),
        (&["http://:marked@host"], "", "location", "unknown scheme `http`"),
        (&["redis://:marked@host/x"], "", "location", "invalid database number"),
        (two, "", "options.topology", "is missing"),
        (two, "topology = 'single'", "location", "several servers"),
        (one, "topology = 'replicas'", "location", "one server"),
        (two, "topology = 'marked'", "options.topology", "sentinel"),
        (two, "topology = 'sentinel'", "options.service_name", "mymaster"),
        (two, "topology = 'replicas'\nservice_name = 'x'", "options.service_name", "sentinel"),
        (one, "sentinel_password = 'marked'", "options.sentinel_password", "sentinel"),
        (
            two,
            "topology = 'sentinel'\nservice_name = 'x'\nsentinel_username = 'x'",
            "options.sentinel_password",
            "is missing",
        ),
        (&["redis://a/1"], "topology = 'cluster'", "location", "only database 0"),
        (&["redis+unix:///run/r"], "topology = 'cluster'", "location", "unix sockets"),
        (&["redis://:marked@a", "redis://b"], "topology = 'cluster'", "location", "entry 2"),
        (&["redis://a", "redis://a:6379"], "topology = 'cluster'", "location", "duplicate server"),
        (&["redis://ada:pre@marked@host"], "", "location", "%40 for @"),
        (&["redis://:marked#marked@host"], "", "location", "options.password"),
        (one, "password = 'marked'", "options.password", "remove one of them"),
        (&["redis://ada@host"], "username = 'marked'", "options.username", "remove one of them"),
        (&["redis://host"], "password = ''", "options.password", "is empty"),
        (one, "read_from = 'replica'", "options.read_from", "no replicas"),
        (one, "read_from = 'marked'", "options.read_from", "replica"),
        (one, "connections = 0", "options.connections", "1 to 64"),
        (one, "connections = 65", "options.connections", "1 to 64"),
        (one, "resp = 4", "options.resp", "2 or 3"),
        (one, "client_name = 'a marked'", "options.client_name", "without spaces"),
        (one, "max_value_bytes = '1GiB'", "options.max_value_bytes", "512 MiB"),
        (one, "max_value_bytes = 0", "options.max_value_bytes", "512 MiB"),
        (one, "tls = {}", "options.tls", "rediss://"),
        (one, "tls = { insecure = true }", "options.tls", "ca_file"),
        (one, "pool = 3", "options", "connections"),
    ] {
        let text = error(location, options);
        assert!(text.contains(&format!("caches.default.{setting}")), "{options}: {text}");
        assert!(text.contains(what), "{options}: {text}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_without_its_feature_is_an_error_with_the_line_to_change() {
    let text = error(&["rediss://:marked@host"], "");
    assert!(text.contains("features = [\"tls\"]"), "{text}");
}

/// "Building `Caches` reads and checks all settings, connects nowhere, needs no runtime."
#[test]
fn valid_settings_build_without_a_server_and_a_runtime() {
    for (location, options) in [
        (&["redis://127.0.0.1:1"][..], ""),
        (&["valkey://127.0.0.1:1"], "topology = 'single'\nresp = 2\nconnections = 64"),
        (&["redis://a", "redis://b"], "topology = 'replicas'\nread_from = 'replica'"),
        (&["redis://a"], "topology = 'cluster'\nread_from = 'replica'"),
        (
            &["redis://a", "redis://b"],
            "topology = 'sentinel'\nservice_name = 'x'\nsentinel_password = 'y'",
        ),
        (&["redis://host"], "username = 'ada'\npassword = 'a@b#c/d%e?f'"),
        (&["redis+unix:///run/redis.sock?db=2"], "client_name = 'a-b'\nmax_value_bytes = '1MiB'"),
    ] {
        Caches::from_toml(&toml(location, &format!("{OPTIONS}{options}"))).unwrap();
    }
    Caches::from_toml("caches.default = { backend = 'valkey', location = 'redis://a' }").unwrap();
}
