//! The metrics and events of a cache have the names that the documentation promises.

#![allow(missing_docs)]

mod bus;
mod near;
mod pending;
#[path = "../replicated/mod.rs"]
mod replicated;
mod revisions;
mod spans;
mod values;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use cache_core::{
    Cache, Caches, Driver, ErrorKind, Keyspace, Timeout,
    layer::Layered,
    store::{Backend, BuildContext, Expiry, Inline, SetMode},
    testing::{FakeClock, Fault, Faulty, Model},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing_subscriber::fmt::format::FmtSpan;

use self::replicated::Replicated;

const SECRET: &str = "hunter2";

fn world(alias: &str) -> (Faulty, Cache, FakeClock) {
    // Before the first event: tracing disables an event that fires before a subscriber exists.
    logged();
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build(alias).unwrap();
    (store, cache, time)
}

/// Causes hits, misses, loads, failures, an open breaker and a closed one.
async fn use_all(store: &Faulty, cache: &Cache, time: &FakeClock) {
    cache.set("k", SECRET, Timeout::Default).await.unwrap();
    cache.get::<String>("k").await.unwrap();
    cache.get::<String>("other").await.unwrap();
    cache.get::<u32>("k").await.unwrap();
    cache.incr("k", 1).await.unwrap_err();
    cache.get_or_set("loaded", Timeout::Default, || async { 1 }).await.unwrap();
    cache
        .get_or_try_set::<u32, _, _>("bad", Timeout::Default, || async {
            Err(io::Error::other("no"))
        })
        .await
        .unwrap_err();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for _ in 0..30 {
        cache.get::<String>("k").await.unwrap();
    }
    store.heal();
    time.advance(Duration::from_secs(2));
    cache.get::<String>("k").await.unwrap();
}

/// Returns the recorded metrics by name and labels, each label as `name=value`.
fn recorded(recorder: &DebuggingRecorder) -> BTreeMap<String, DebugValue> {
    let all = recorder.snapshotter().snapshot().into_vec();
    all.into_iter()
        .map(|(key, _, _, value)| {
            let (_, key) = key.into_parts();
            let mut labels: Vec<_> =
                key.labels().map(|it| format!("{}={}", it.key(), it.value())).collect();
            labels.sort();
            (format!("{} {}", key.name(), labels.join(" ")), value)
        })
        .collect()
}

#[test]
fn reads_of_a_keyspace_are_counted_under_its_label() {
    static USERS: Keyspace<u64, String> = Keyspace::new("user");
    static PAGES: Keyspace<u64, String> = Keyspace::new("page").label("pages");
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = Cache::new("shop", Model::default());
            USERS.set(&cache, &1, &"Ada".into()).await.unwrap();
            USERS.get(&cache, &1).await.unwrap();
            USERS.get_many(&cache, [1, 2, 3]).await.unwrap();
            let load = || async { "page".to_owned() };
            PAGES.get_or_set(&cache, &1, load).await.unwrap();
            PAGES.get_or_set(&cache, &1, load).await.unwrap();
            let load = |_| async { Ok::<_, Infallible>(String::new()) };
            PAGES.fetch(&cache, &1).load(load).await.unwrap();
            let load = |_| async { [(2, String::new())] };
            PAGES.get_or_set_many(&cache, [1, 2, 3, 2], load).await.unwrap();
            let stats = cache.stats();
            let counts = |label| (stats.keyspaces[label].hits, stats.keyspaces[label].misses);
            assert_eq!((counts("user"), counts("pages")), ((2, 2), (3, 3)));
            assert_eq!(stats.keyspaces.len(), 2, "{stats:?}");
            assert!(format!("{stats:?}").contains("\"pages\": KeyspaceStats { hits: 3"));
        });
    });
    let recorded = recorded(&recorder);
    for (labels, count) in [
        ("keyspace=user outcome=hit", 2),
        ("keyspace=user outcome=miss", 2),
        ("keyspace=pages outcome=hit", 3),
        ("keyspace=pages outcome=miss", 3),
    ] {
        let name = format!("cache_keyspace_reads_total alias=shop {labels}");
        assert_eq!(recorded.get(&name), Some(&DebugValue::Counter(count)), "{name}");
    }
}

#[test]
fn metrics_have_the_promised_names_and_labels() {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, cache, time) = world("shop");
            use_all(&store, &cache, &time).await;
        });
    });
    let recorded = recorded(&recorder);
    let counter = |name: &str| match recorded.get(name) {
        Some(DebugValue::Counter(it)) => *it,
        other => panic!("{name}: {other:?} in {:?}", recorded.keys()),
    };
    let operations = "cache_operations_total alias=shop";
    assert_eq!(counter(&format!("{operations} operation=get outcome=hit")), 2);
    assert_eq!(counter(&format!("{operations} operation=get outcome=miss")), 2);
    assert_eq!(counter(&format!("{operations} operation=get outcome=failed")), 30);
    assert_eq!(counter(&format!("{operations} operation=incr outcome=refused")), 1);
    let errors = "cache_errors_total alias=shop";
    assert_eq!(counter(&format!("{errors} kind=NotAnInteger operation=incr")), 1);
    assert_eq!(counter(&format!("{errors} kind=Unavailable operation=get")), 30);
    assert_eq!(counter("cache_loads_total alias=shop result=ok"), 1);
    assert_eq!(counter("cache_loads_total alias=shop result=error"), 1);
    let refused_load = format!("{operations} operation=get_or_set outcome=refused");
    assert!(!recorded.contains_key(&refused_load), "a loader's error counts as a refused call");
    assert_eq!(counter("cache_undecodable_total alias=shop operation=get"), 1);
    assert!(counter("cache_value_bytes_total alias=shop direction=written") >= 9);
    assert!(counter("cache_value_bytes_total alias=shop direction=read") >= 9);
    for name in [
        "cache_load_duration_seconds alias=shop",
        "cache_store_call_duration_seconds alias=shop backend=model operation=get",
    ] {
        assert!(matches!(recorded.get(name), Some(DebugValue::Histogram(_))), "{name}");
    }
    let state = recorded.get("cache_breaker_state alias=shop");
    assert!(matches!(state, Some(DebugValue::Gauge(it)) if it.0 == 0.0), "{state:?}");
}

#[test]
fn shared_loads_have_their_own_count() {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_, cache, _) = world("shop");
            let load = || async {
                tokio::task::yield_now().await;
                1
            };
            let (a, b) = tokio::join!(
                cache.get_or_set("k", Timeout::Default, load),
                cache.get_or_set("k", Timeout::Default, load)
            );
            assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
        });
    });
    let shared = recorded(&recorder).remove("cache_loads_total alias=shop result=shared");
    assert_eq!(shared, Some(DebugValue::Counter(1)));
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns everything that the tests of this program have logged so far.
fn logged() -> String {
    static LOG: OnceLock<Text> = OnceLock::new();
    let text = LOG.get_or_init(|| {
        let text = Text::default();
        let writer = text.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        text
    });
    String::from_utf8(text.0.lock().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn events_and_spans_have_the_promised_names_and_a_limited_rate() {
    let (store, cache, time) = world("traced");
    use_all(&store, &cache, &time).await;
    let log = logged();
    let lines = |words: &[&str]| {
        let mine = log.lines().filter(|it| it.contains("alias=\"traced\""));
        mine.filter(|it| words.iter().all(|word| it.contains(word))).count()
    };
    let failed =
        ["ERROR", "the store failed", "operation=\"get\"", "kind=\"Unavailable\"", "hidden=true"];
    assert_eq!(lines(&["the store failed"]), 1, "30 failures, one event");
    assert_eq!(lines(&failed), 1, "{log}");
    assert_eq!(lines(&["WARN", "stored bytes cannot be decoded", "key=\":1:k\""]), 1, "{log}");
    let opened =
        ["WARN", "the circuit breaker opened", "error=store unavailable: injected by the test"];
    assert_eq!(lines(&opened), 1, "{log}");
    assert_eq!(lines(&["INFO", "the circuit breaker closed"]), 1, "{log}");
    assert!(lines(&["TRACE", "cache_load{", "cache.key=\":1:loaded\""]) > 0, "{log}");
    assert!(lines(&["DEBUG", "cache_store_call{", "backend=\"model\"", "keys=1"]) > 0, "{log}");
    assert!(!log.contains(SECRET), "a value shows");
}

#[tokio::test]
async fn loaded_value_over_the_limit_is_logged_once_a_minute() {
    logged();
    let time = FakeClock::new();
    let store = Inline::new(Model::new(time.clock()).with_max_value_len(10));
    let cache = Cache::builder(Arc::new(store)).clock(time.clock()).build("large").unwrap();
    let value = || async { "x".repeat(18) };
    for wait in [1, 1, 61] {
        cache.get_or_set("k", Timeout::Default, value).await.unwrap();
        time.advance(Duration::from_secs(wait));
    }
    cache.get_or_set("k", Timeout::Default, value).await.unwrap();
    assert_eq!(cache.stats().loads, 4);
    let log = logged();
    let events: Vec<_> = log.lines().filter(|it| it.contains("a loaded value is too")).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    for words in ["WARN", "alias=\"large\"", "key=\":1:k\"", "size=20", "limit=10"] {
        assert!(events[0].contains(words), "`{words}` is not in: {events:?}");
    }
    assert!(events[1].contains("suppressed=2"), "{events:?}");
    assert!(!log.contains("xxxx"), "a value shows");
}

#[tokio::test]
async fn undecodable_bytes_are_logged_with_type_codec_and_place() {
    let (store, cache, time) = world("undecodable");
    let put = async |bytes: Vec<u8>| {
        time.advance(Duration::from_secs(2));
        store.set(":1:k", bytes.into(), Expiry::Never, SetMode::Always).await.unwrap();
        cache.get::<Vec<u16>>("k").await.unwrap();
        cache.strict().get::<Vec<u16>>("k").await.unwrap_err().to_string()
    };
    let wanted = "alloc::vec::Vec<u16>";
    for (bytes, why) in [
        (b"[1,\n \"hunter2\"]".to_vec(), "JSON, data of another type at line 2, column 10"),
        (b"[1".to_vec(), "JSON, truncated at line 1, column 2"),
        (b"hunter2".to_vec(), "JSON, not valid JSON, or nested too deep at line 1, column 1"),
        (wrapped(b"\xa7hunter2"), "MessagePack, data of another type"),
    ] {
        let error = put(bytes).await;
        for text in [why, wanted] {
            assert!(error.contains(text), "`{text}` is not in: {error}");
            assert!(logged().contains(text), "`{text}` is not in: {}", logged());
        }
        assert!(!error.contains(SECRET), "a value shows: {error}");
    }
    assert!(!logged().contains(SECRET), "a value shows");
}

/// Returns a payload with the header of `MessagePack`.
fn wrapped(payload: &[u8]) -> Vec<u8> {
    let fixed = [0xc1, 0xca, 20, 0, 1, 0, 0, 0];
    let mut res = [&fixed[..], &(payload.len() as u64).to_le_bytes()].concat();
    let sum = crc32fast::hash(&[&res[2..], payload].concat());
    res.extend(sum.to_le_bytes());
    res.extend(payload);
    res
}

#[tokio::test]
async fn only_failures_that_the_caller_does_not_see_are_logged_as_hidden() {
    for (alias, hidden) in [("hidden-get", true), ("seen-add", false), ("seen-check", false)] {
        let (store, cache, _) = world(alias);
        store.inject(|_| Fault::Error(ErrorKind::Unavailable));
        let res = match alias {
            "hidden-get" => cache.get::<u32>("k").await.map(drop),
            "seen-add" => cache.add("k", &1, Timeout::Default).await.map(drop),
            _ => cache.check().await,
        };
        assert_eq!(res.is_ok(), hidden);
        let words = [format!("alias=\"{alias}\""), format!("hidden={hidden}")];
        let log = logged();
        let is_event = |it: &&str| it.contains("the store failed") && it.contains(&words[0]);
        let events: Vec<_> = log.lines().filter(is_event).collect();
        assert!(events.len() == 1 && events[0].contains(&words[1]), "{events:?}");
    }
}

/// A store with its own breaker that is unavailable for the first 4 s.
const SERVERS: Driver = Driver::new("servers", |context: &BuildContext<'_>| {
    let clock = context.clock().clone();
    let server = Faulty::new(Arc::new(Inline::new(Model::new(clock.clone()))));
    let up = clock.now() + Duration::from_secs(4);
    server.inject(move |_| {
        if clock.now() < up { Fault::Error(ErrorKind::Unavailable) } else { Fault::None }
    });
    let breaker = context.breaker("one")?.expect("the settings have one");
    let leader: Arc<dyn Backend> = Arc::new(Layered::new(breaker, Arc::new(server)));
    let facts = leader.capabilities().breaks_per_server();
    Ok(Arc::new(Replicated { copy: Arc::clone(&leader), leader, view: None, facts }))
});

#[test]
fn breaker_of_a_store_reports_under_the_alias() {
    logged();
    let recorder = DebuggingRecorder::new();
    let state = || recorded(&recorder).remove("cache_breaker_state alias=servers");
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let time = FakeClock::new();
            let text = "caches.default.backend = 'dummy'\ncaches.servers.backend = 'servers'";
            let caches = Caches::builder().driver(SERVERS).clock(time.clock()).toml(text).unwrap();
            let caches = caches.build().unwrap();
            let cache = caches.get("servers").unwrap();
            for _ in 0..30 {
                cache.get::<u32>("k").await.unwrap();
            }
            assert_eq!(state(), Some(DebugValue::Gauge(1.0.into())), "open");
            assert_eq!(cache.stats().breaker, None, "the facade has a second breaker");
            for _ in 0..3 {
                time.advance(Duration::from_millis(1100));
                cache.strict().get::<u32>("k").await.unwrap_err();
            }
            assert_eq!(state(), Some(DebugValue::Gauge(1.0.into())), "open after failed probes");
            time.advance(Duration::from_millis(1100));
            cache.strict().get::<u32>("k").await.unwrap();
            assert_eq!(state(), Some(DebugValue::Gauge(0.0.into())), "closed");
        });
    });
    let log = logged();
    let mine = |words: &str| {
        log.lines().filter(|it| it.contains("alias=\"servers\"") && it.contains(words)).count()
    };
    assert_eq!(mine("the circuit breaker opened"), 1, "failed probes are logged: {log}");
    assert_eq!(mine("the circuit breaker closed"), 1, "{log}");
}

#[test]
fn breaker_of_two_aliases_is_logged_once_with_both_names() {
    logged();
    let driver = Driver::new("pair", |context: &BuildContext<'_>| {
        let server = Faulty::new(Arc::new(Inline::new(Model::new(context.clock().clone()))));
        server.inject(|_| Fault::Error(ErrorKind::Unavailable));
        context.one_server("10.0.0.1:1")?;
        Ok(Arc::new(server))
    });
    let text = "caches.default.backend = 'pair'\ncaches.pair2.backend = 'pair'";
    let caches = Caches::builder().driver(driver).toml(text).unwrap().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..10 {
        runtime.block_on(caches.get("pair2").unwrap().get::<u32>("k")).unwrap();
    }
    let log = logged();
    let mine = |it: &&str| it.contains("alias=\"default, pair2\"") && it.contains("opened");
    assert_eq!(log.lines().filter(mine).count(), 1, "{log}");
}
