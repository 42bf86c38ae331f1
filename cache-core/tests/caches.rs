//! From settings to handles: what is built, what is refused and in which words.

#![allow(missing_docs)]

use std::{fmt::Write, fs, sync::Arc};

use cache_core::{
    CACHES, Cache, CacheSettings, Caches, CachesBuilder, Driver, ErrorKind, Result, Settings,
    Timeout, cache, install,
    layer::Operation,
    store::{Backend, BuildContext, Inline},
    testing::{FakeClock, Fault, Faulty, Model},
};
use cache_memory as _;

const MEMORY: &str = "[caches.default]\nbackend = 'memory'\n";

/// The error of building from this text holds each of the words.
#[track_caller]
fn refused(text: &str, kind: ErrorKind, words: &[&str]) {
    let error =
        Caches::builder().driver(PART).toml(text).and_then(CachesBuilder::build).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
}

/// A store made of another alias's store.
const PART: Driver = Driver::new("part", |context: &BuildContext<'_>| {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        of: String,
    }
    context.backend_of(&context.options::<Options>()?.of)
});

#[test]
fn what_makes_no_sense_is_refused_at_build() {
    use ErrorKind::Config;
    refused(
        "[caches.a]\nbackend = 'memory'",
        Config,
        &["caches.default", "`a`", "[caches.default]"],
    );
    refused(
        "[caches.default]\nbackend = 'redis'",
        Config,
        &["`redis`", "use cache_redis as _;", "caches.default.backend", "`memory`", "`dummy`"],
    );
    refused("[caches.default]\nbackend = 'Memory'", Config, &["it is spelled `memory` here"]);
    refused("[caches.default]\nbackend = 'Redis'", Config, &["use cache_redis as _;"]);
    refused("[caches.default]\nbackend = 'mine'", Config, &["`mine`", "use that_crate as _;"]);
    refused(
        "[caches.default]\nbackend = 'django.core.cache.backends.locmem.LocMemCache'",
        Config,
        &["Django", "\"memory\""],
    );
    refused(
        &format!("{MEMORY}options = {{ max_entrys = 5 }}"),
        Config,
        &["caches.default.options.max_entrys", "`max_entries`"],
    );
    refused(
        &format!("{MEMORY}options = {{ max_entries = 'many' }}"),
        Config,
        &["caches.default.options.max_entries", "an integer that is not negative", "a string"],
    );
    refused(&format!("{MEMORY}key_prefix = 'a:2'"), Config, &["caches.default.key_prefix", "`2`"]);
    refused(&format!("{MEMORY}key_prefix = 'a b'"), Config, &["caches.default.key_prefix", "0x20"]);
    refused(
        &format!("{MEMORY}location = ['a', 'b']"),
        Config,
        &["caches.default.location", "one place"],
    );
    refused(
        "[caches.default]\nbackend = 'dummy'\nlocation = 'x'",
        Config,
        &["caches.default.location"],
    );
    refused(
        "[caches.default]\nbackend = 'dummy'\noptions = { a = 1 }",
        Config,
        &["caches.default.options.a"],
    );
    refused(
        "[caches.default]\nbackend = 'part'\noptions = { of = 'default' }",
        Config,
        &["caches.default.options", "cyclic cache definition"],
    );
    refused(
        "[caches.default]\nbackend = 'part'\noptions = { of = 'b' }\n[caches.b]\nbackend = 'part'\noptions = { of = 'default' }",
        Config,
        &["cyclic cache definition"],
    );
    refused(
        "[caches.default]\nbackend = 'part'\noptions = { of = 'nope' }",
        ErrorKind::UnknownAlias,
        &["`nope`", "`default`"],
    );
    refused(
        "[caches.default]\nbackend = 'part'",
        Config,
        &["caches.default.options.of", "required"],
    );
}

#[test]
fn the_same_alias_is_always_the_same_handle() {
    let caches = Caches::from_toml(&format!("{MEMORY}[caches.fast]\nbackend = 'memory'")).unwrap();
    assert!(std::ptr::eq(caches.get("fast").unwrap(), caches.get("fast").unwrap()));
    assert!(!caches.get("fast").unwrap().is_same(caches.get("default").unwrap()));
    assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "fast"]);
    let error = caches.get("slow").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownAlias);
    assert!(
        error.to_string().contains("`slow`") && error.to_string().contains("`default` and `fast`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_location_is_shared_within_one_caches_and_not_beyond() -> Result<()> {
    let text = "[caches.default]\nbackend = 'memory'\nlocation = 'main'\n[caches.b]\nbackend = 'memory'\nlocation = 'main'\n\
                [caches.c]\nbackend = 'memory'";
    let (one, two) = (Caches::from_toml(text)?, Caches::from_toml(text)?);
    one.get("default")?.set("k", &1, Timeout::Default).await?;
    assert_eq!(one.get("b")?.get::<i32>("k").await?, Some(1));
    assert_eq!(one.get("c")?.get::<i32>("k").await?, None);
    assert_eq!(two.get("default")?.get::<i32>("k").await?, None);
    Ok(())
}

#[test]
fn settings_come_from_a_file_and_its_errors_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let error = Caches::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("settings.toml"), "{error}");
    fs::write(&path, "[caches.default]\nbackend = 5").unwrap();
    let error = Caches::from_file(&path).unwrap_err();
    assert!(
        error.to_string().contains("settings.toml")
            && error.to_string().contains("caches.default.backend"),
        "{error}"
    );
    fs::write(&path, MEMORY).unwrap();
    assert!(Caches::from_file(&path).is_ok());
}

#[test]
fn settings_that_another_library_loaded_can_be_passed_in() {
    let json =
        r#"{"default": {"backend": "memory", "timeout": "never", "options": {"max_entries": 10}}}"#;
    let settings: Settings = serde_json::from_str(json).unwrap();
    assert!(Caches::builder().settings(settings).build().is_ok());
    let error =
        serde_json::from_str::<Settings>(r#"{"default": {"backend": "memory", "tiemout": 5}}"#)
            .unwrap_err();
    assert!(error.to_string().contains("tiemout"), "{error}");
}

#[test]
fn an_explicit_driver_replaces_a_linked_one() {
    let mine = Driver::new("memory", |_| Ok(Arc::new(Inline::new(Model::default()))));
    let caches = Caches::builder().driver(mine).toml(MEMORY).unwrap().build().unwrap();
    assert_eq!(caches.get("default").unwrap().backend().name(), "model");
}

mod linked_twice {
    //! Two crates that offer one name.
    use super::*;

    pub(crate) const ONE: Driver =
        Driver::new("twice", |_| Ok(Arc::new(Inline::new(Model::default()))));
    pub(crate) const TWO: Driver =
        Driver::new("twice", |_| Ok(Arc::new(Inline::new(Model::default()))));
    cache_core::register_driver!(ONE);
    cache_core::register_driver!(TWO);
}

#[test]
fn two_linked_drivers_of_one_name_are_an_error_until_one_is_chosen() {
    let text = "[caches.default]\nbackend = 'twice'";
    refused(text, ErrorKind::Config, &["`twice`", "several", ".driver("]);
    let chosen = Caches::builder().driver(linked_twice::ONE).toml(text).unwrap().build();
    assert!(chosen.is_ok());
}

#[test]
fn a_key_function_for_an_unknown_alias_is_an_error() {
    let builder = Caches::builder().toml(MEMORY).unwrap();
    let error = builder.key_function("slow", str::to_owned).build().unwrap_err();
    assert!(error.to_string().contains("`slow`"), "{error}");
}

#[tokio::test]
async fn check_and_close_reach_every_cache_and_report_each() {
    let store = Faulty::new(Arc::new(Inline::new(Model::default())));
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let caches =
        Caches::builder().toml(MEMORY).unwrap().backend("broken", Arc::new(store)).build().unwrap();
    let report = caches.check().await;
    assert!(!report.is_ok());
    let text = report.to_string();
    assert!(text.contains("default: ok") && text.contains("broken: store unavailable"), "{text}");
    let error = caches.close().await.unwrap_err();
    assert_eq!(error.context("alias"), Some("broken"), "fail_open hides no failed close");
    assert!(caches.get("default").unwrap().close().await.is_ok(), "closing twice is fine");
}

#[test]
fn a_password_in_the_settings_shows_nowhere() {
    const SECRET: &str = "hunter2";
    let leaky = Driver::new("leaky", |context: &BuildContext<'_>| {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Options {
            #[expect(dead_code, reason = "what matters is that it is read")]
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

#[tokio::test]
async fn a_value_shows_in_no_error() {
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
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some(VALUE), "it was lost");
}

#[tokio::test]
async fn the_global_is_installed_once_and_overridden_in_a_scope() {
    assert_eq!(CACHES.get("default").unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(CACHES.aliases().count(), 0);
    let nothing = std::panic::catch_unwind(|| cache().alias().to_owned()).unwrap_err();
    let text = nothing.downcast_ref::<String>().unwrap();
    assert!(text.contains("cache_core::install"), "{text}");
    let scoped = Caches::from_toml("caches.default.backend = 'dummy'").unwrap().leak();
    CACHES.scope_sync(scoped, || assert!(CACHES.get("default").is_ok()));
    let lost = CACHES.get("default").unwrap_err();
    assert!(lost.to_string().contains("CACHES.current()"), "{lost}");

    install(Caches::from_toml(&format!("{MEMORY}[caches.fast]\nbackend = 'memory'")).unwrap())
        .unwrap();
    assert!(std::ptr::eq(cache(), CACHES.get("default").unwrap()));
    let elsewhere = std::thread::spawn(|| std::ptr::from_ref(cache()).addr()).join().unwrap();
    assert_eq!(elsewhere, std::ptr::from_ref(cache()).addr(), "another thread, another handle");
    let unknown = std::panic::catch_unwind(|| CACHES["slow"].alias().to_owned()).unwrap_err();
    assert!(unknown.downcast_ref::<String>().unwrap().contains("`slow`"));

    cache().set("k", &1, Timeout::Default).await.unwrap();
    let error =
        install(Caches::from_toml("caches.default.backend = 'dummy'").unwrap()).unwrap_err();
    assert!(error.to_string().contains("already installed"), "{error}");
    assert_eq!(cache().get::<i32>("k").await.unwrap(), Some(1), "the first ones stay");

    let time = FakeClock::new();
    let dummy = Caches::from_toml("caches.default.backend = 'dummy'").unwrap().leak();
    let model =
        Caches::builder().backend("default", Model::new(time.clock())).build().unwrap().leak();
    CACHES
        .scope(dummy, async {
            cache().set("k", &2, Timeout::Default).await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(cache().get::<i32>("k").await.unwrap(), None);
            CACHES
                .scope(model, async {
                    cache().set("k", &3, Timeout::Default).await.unwrap();
                    assert_eq!(cache().get::<i32>("k").await.unwrap(), Some(3));
                })
                .await;
            let spawned = tokio::spawn(async { cache().get::<i32>("k").await.unwrap() });
            assert_eq!(
                spawned.await.unwrap(),
                Some(1),
                "a task of its own sees the installed ones"
            );
            assert_eq!(cache().get::<i32>("k").await.unwrap(), None);
            let current = CACHES.current();
            let carried = current.scope(async { cache().backend().name() });
            assert_eq!(tokio::spawn(carried).await.unwrap(), "dummy");
            let name = move || current.scope_sync(|| cache().backend().name());
            assert_eq!(std::thread::spawn(name).join().unwrap(), "dummy");
        })
        .await;
    let outside = CACHES.current().scope(async { cache().backend().name() });
    assert_eq!(outside.await, "memory", "outside of a scope, the installed ones");
    assert_eq!(cache().get::<i32>("k").await.unwrap(), Some(1));
    CACHES.scope_sync(dummy, || assert_eq!(cache().backend().name(), "dummy"));
    assert_eq!(cache().backend().name(), "memory");
}

#[test]
fn building_needs_no_runtime_and_handles_go_anywhere() {
    fn anywhere<T: Clone + Send + Sync + 'static>(_: &T) {}
    let caches = Caches::from_toml(MEMORY).unwrap();
    let cache = caches.get("default").unwrap();
    anywhere(cache);
    anywhere(&cache.blocking());
    let _: Arc<dyn Backend> = Arc::clone(cache.backend());
}

/// A driver may print what it was given; a location may hold a password.
#[test]
fn a_build_context_shows_no_location() {
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

#[test]
fn djangos_class_paths_are_answered_with_our_names() {
    for (path, ours) in [
        ("django.core.cache.backends.memcached.PyMemcacheCache", "\"memcached\""),
        ("django.core.cache.backends.locmem.LocMemCache", "\"memory\""),
        ("django.core.cache.backends.db.DatabaseCache", "\"db\""),
        ("django.core.cache.backends.filebased.FileBasedCache", "\"file\""),
        ("django_redis.cache.RedisCache", "\"redis\""),
    ] {
        let text = format!("caches.default.backend = '{path}'");
        refused(&text, ErrorKind::Config, &["caches.default.backend", ours]);
    }
}

/// "All are asked, whatever the others say", and if they say nothing.
#[tokio::test]
async fn a_store_that_hangs_keeps_no_other_from_being_asked() {
    let [hangs, serves] = [(); 2].map(|()| Faulty::new(Arc::new(Inline::new(Model::default()))));
    hangs.inject(|_| Fault::Hang);
    let builder = Caches::builder().backend("default", Arc::new(hangs));
    let caches = builder.backend("other", Arc::new(serves.clone())).build().unwrap();
    tokio::select! {
        _ = caches.check() => panic!("one hangs"),
        () = serves.arrived(Operation::Check, 1) => {}
    }
    tokio::select! {
        _ = caches.close() => panic!("one hangs"),
        () = serves.arrived(Operation::Close, 1) => {}
    }
}

/// Someone who puts the URL into the wrong setting sends the error to a log all the same.
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
