//! Passwords and values are absent from errors and from debug output.

use std::{fmt::Write, sync::Arc};

use cache_core::{
    Cache, CacheSettings, Caches, CachesBuilder, Driver, ErrorKind, Result, Settings, Timeout,
    store::{Backend, BuildContext},
    testing::Model,
};

use crate::refused;

#[test]
fn password_in_the_settings_is_absent_from_errors_and_debug_output() {
    const SECRET: &str = "hunter2";
    let leaky = Driver::new("leaky", |context: &BuildContext<'_>| {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Options {
            #[expect(dead_code, reason = "only the deserialization matters")]
            port: u16,
        }
        assert!(!format!("{context:?}").contains(SECRET));
        context.options::<Options>()?;
        Err(context.error("location", "no such server"))
    });
    let texts = [
        format!(
            "[caches.default]\nbackend = 'leaky'\nlocation = 'x://u:{SECRET}@h'\noptions = {{ port = 5 }}"
        ),
        format!("[caches.default]\nbackend = 'leaky'\noptions = {{ port = '{SECRET}' }}"),
        format!(
            "[caches.default]\nbackend = 'leaky'\noptions = {{ port = 5, password = '{SECRET}' }}"
        ),
        format!("[caches.default]\nbackend = 'leaky'\nlocation = '{SECRET}\n"),
        format!("[caches.default]\nbackend = 'leaky'\ntimeout = '{SECRET}'"),
        format!("[caches.default]\nbackend = 'leaky'\nfail_open = '{SECRET}'"),
        format!("[caches.default]\nbackend = ['{SECRET}']"),
        format!("[caches.default]\nbackend = 'leaky'\nlocation = '${{{SECRET} x}}'"),
    ];
    for text in texts {
        let builder = Caches::builder().driver(leaky).toml(&text);
        if let Ok(builder) = &builder {
            assert!(!format!("{builder:?}").contains(SECRET));
        }
        let error = builder.and_then(CachesBuilder::build).unwrap_err();
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(it) = source {
            write!(shown, " {it} {it:?}").unwrap();
            source = it.source();
        }
        assert!(!shown.contains(SECRET), "{shown}");
    }
    let mut settings = CacheSettings::new("memory");
    settings.location = cache_core::config::Location::one(SECRET);
    assert!(!format!("{settings:?} {:?}", settings.location).contains(SECRET));
}

/// A user who puts the URL into a wrong setting may log the error.
#[test]
fn url_in_the_wrong_setting_shows_no_password() {
    let url = "redis://shop:markedpassword@db.example/0";
    for setting in [
        "backend",
        "timeout",
        "version",
        "codec",
        "fail_open",
        "long_keys",
        "deadline",
        "connect_deadline",
        "load_deadline",
        "breaker",
        "breaker.enabled",
        "breaker.min_calls",
        "breaker.open_for",
        "retry",
        "retry.retries",
        "options",
        "options.max_entries",
        "options.max_bytes",
    ] {
        let others = if setting == "backend" { "" } else { "backend = 'memory'\n" };
        let text = format!("[caches.default]\n{others}{setting} = '{url}'");
        let error = Caches::from_toml(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("marked"), "{setting}: {shown}");
        assert!(shown.contains(&format!("caches.default.{setting}")), "{setting}: {shown}");
    }
    let settings = CacheSettings::new(url);
    assert!(!format!("{settings:?}").contains("marked"));
    let text = format!("[caches.default]\nbackend = '{url}'");
    refused(&text, ErrorKind::Config, &["a URL", "`location`"]);
}

#[test]
fn backend_that_is_not_a_name_is_not_shown() {
    for backend in [
        "redis://ada:hunter2@localhost/0",
        "redis hunter2",
        "postgres://hunter2",
        "hunter2@localhost",
    ] {
        let text = format!("[caches.default]\nbackend = '{backend}'");
        let settings = Settings::from_toml(&text).unwrap();
        let error = Caches::from_toml(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("caches.default.backend"), "{error}");
        for shown in [format!("{error} {error:?}"), format!("{settings:?}")] {
            assert!(!shown.contains("hunter2"), "a password shows: {shown}");
        }
    }
    let error = Caches::from_toml("[caches.default]\nbackend = 'redis://h'").unwrap_err();
    assert!(error.to_string().contains("`location`"), "{error}");
    let error = Caches::from_toml("[caches.default]\nbackend = 'memroy'").unwrap_err();
    assert!(error.to_string().contains("did you mean `memory`"), "{error}");
}

/// A driver may log its build context, and a location may hold a password.
#[test]
fn location_is_absent_from_debug_output_of_a_build_context() {
    fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
        let place = context.location()?.unwrap_or_default();
        context.shared(place, || Ok(1))?;
        Err(context.error("options", format!("{context:?}")))
    }
    let toml = "caches.default = { backend = 'mine', location = 'redis://:s3cret@host' }";
    let builder = Caches::builder().driver(Driver::new("mine", build)).toml(toml).unwrap();
    let text = builder.build().unwrap_err().to_string();
    assert!(text.contains("BuildContext") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn value_is_absent_from_errors() {
    const VALUE: &str = "hunter2";
    struct Fails;
    impl serde::Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom(VALUE))
        }
    }
    let cache = Cache::new("test", Model::default());
    cache.set("k", VALUE, Timeout::Default).await.unwrap();
    let errors = [
        cache.set("k", &Fails, Timeout::Default).await.unwrap_err(),
        cache.strict().get::<u32>("k").await.unwrap_err(),
        cache.incr("k", 1).await.unwrap_err(),
        cache.set_many([("a", Fails)], Timeout::Default).await.unwrap_err(),
    ];
    for error in errors {
        let source = std::error::Error::source(&error).map(|it| format!("{it:?}"));
        let shown = format!("{error} {error:?} {source:?}");
        assert!(!shown.contains(VALUE), "{shown}");
        assert!(shown.contains(":1:"), "the key is missing: {shown}");
    }
    assert_eq!(
        cache.get::<String>("k").await.unwrap().as_deref(),
        Some(VALUE),
        "the value was lost"
    );
}
