//! The fields of spans.

use std::{convert::Infallible, time::Duration};

use cache_core::{Cache, Keyspace, Timeout, secs};
use tracing_subscriber::{
    Layer as _, filter::LevelFilter, fmt::format::FmtSpan, layer::SubscriberExt as _,
};

use crate::{SECRET, Text, logged, world};

/// Misses, loads, stores and hits a key, and asks for it.
async fn use_key(cache: &Cache) {
    let load = || async { SECRET.to_owned() };
    cache.get_or_set("k", Duration::from_secs(60), load).await.unwrap();
    cache.get::<String>("k").await.unwrap();
    assert!(cache.has_key("k").await.unwrap());
    cache.ttl("k").await.unwrap();
    assert!(cache.set_many([("a", 1), ("b", 2)], Timeout::Never).await.unwrap().is_empty());
}

#[tokio::test]
async fn spans_of_calls_have_the_fields_of_a_cache() {
    let (_, cache, _) = world("spanned");
    use_key(&cache).await;
    let log = logged();
    let spans: Vec<_> =
        log.lines().filter(|it| it.contains("close") && it.contains("alias=\"spanned\"")).collect();
    let count = |words: &[&str]| {
        spans.iter().filter(|it| words.iter().all(|word| it.contains(word))).count()
    };
    for (words, what) in [
        (&["cache_store_call{", "cache.operation=\"get\"", "cache.hit=false"][..], "a miss"),
        (&["cache_load{", "cache.operation=\"get_or_set\""], "a load"),
        (&["cache.operation=\"set\"", "cache.ttl=60", "cache.item_size=9"], "the write"),
        (&["cache.operation=\"get\"", "cache.hit=true", "cache.item_size=9"], "a hit"),
        (&["cache.operation=\"has_key\"", "cache.hit=true"], "has_key"),
        (&["cache.operation=\"ttl\"", "cache.hit=true", "cache.ttl=60"], "ttl"),
        (&["cache.operation=\"set_many\"", "keys=2", "cache.item_size=2"], "a batch"),
    ] {
        assert_eq!(count(words), 1, "{what}: {spans:#?}");
    }
    let keys = log.lines().filter(|it| it.contains("the key of a call cache.key=\":1:k\""));
    let keys: Vec<_> = keys.filter(|it| it.contains("alias=\"spanned\"")).collect();
    assert!(keys.iter().any(|it| it.contains("cache_load{")), "{keys:#?}");
    assert!(keys.iter().any(|it| it.contains("cache.operation=\"has_key\"")), "{keys:#?}");
    assert!(!log.contains(SECRET), "a value shows");
}

#[tokio::test]
async fn loads_and_reads_of_a_keyspace_have_its_label() {
    static USERS: Keyspace<u64, u32> = Keyspace::new("user").ttl(secs(60)).label("people");
    let (_, cache, _) = world("labelled");
    USERS.get_or_set(&cache, &1, || async { 1 }).await.unwrap();
    let load = |_| async { Ok::<_, Infallible>(2) };
    USERS.fetch(&cache, &2).load(load).await.unwrap();
    USERS.get_many(&cache, [1, 2]).await.unwrap();
    cache.get_or_set("other", secs(60), || async { 3 }).await.unwrap();
    let log = logged();
    let mine = log.lines().filter(|it| it.contains("alias=\"labelled\""));
    let mine: Vec<_> = mine.filter(|it| it.contains("keyspace=\"people\"")).collect();
    let count = |words: &[&str]| {
        mine.iter().filter(|it| words.iter().all(|word| it.contains(word))).count()
    };
    assert_eq!(count(&["cache_load{", "close", "cache.operation=\"get_or_set\""]), 1, "{log}");
    assert_eq!(count(&["cache_load{", "close", "cache.operation=\"fetch\""]), 1, "{log}");
    assert_eq!(count(&["keys of a keyspace were read", "outcome=\"miss\" keys=1"]), 2);
    assert_eq!(count(&["keys of a keyspace were read", "outcome=\"hit\" keys=2"]), 1);
}

#[tokio::test]
async fn each_outcome_is_an_event() {
    let (_, cache, _) = world("outcomes");
    use_key(&cache).await;
    let log = logged();
    let events: Vec<_> = log
        .lines()
        .filter(|it| it.contains("a call ended") && it.contains("alias=\"outcomes\""))
        .collect();
    for words in [
        "cache.operation=\"get_or_set\" outcome=\"miss\" cache.hit=false",
        "cache.operation=\"get\" outcome=\"hit\" cache.hit=true",
    ] {
        assert_eq!(events.iter().filter(|it| it.contains(words)).count(), 1, "{events:#?}");
    }
}

/// Keys may contain personal data.
#[tokio::test]
async fn spans_have_no_key_below_the_level_trace() {
    logged();
    let text = Text::default();
    let writer = text.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let (_, cache, _) = world("no-keys");
    let guard = tracing::subscriber::set_default(subscriber);
    use_key(&cache).await;
    drop(guard);
    let log = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("cache_load{") && log.contains("cache_store_call{"), "{log}");
    assert!(log.contains("cache.hit=true"), "{log}");
    assert!(!log.contains("cache.key") && !log.contains(":1:"), "{log}");
}

/// A subscriber of several layers is a usual one: a log in full, and spans for another company.
#[tokio::test]
async fn layer_that_shows_no_keys_gets_all_spans_beside_a_layer_that_does() {
    logged();
    let (full, short) = (Text::default(), Text::default());
    let layer = |text: &Text, level| {
        let writer = text.clone();
        tracing_subscriber::fmt::layer()
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .with_filter(level)
    };
    let layers = vec![layer(&full, LevelFilter::TRACE), layer(&short, LevelFilter::DEBUG)];
    let subscriber = tracing_subscriber::registry().with(layers);
    let (_, cache, _) = world("layers");
    let guard = tracing::subscriber::set_default(subscriber);
    use_key(&cache).await;
    drop(guard);
    let [full, short] =
        [full, short].map(|it| String::from_utf8(it.0.lock().unwrap().clone()).unwrap());
    let spans = |log: &str| log.lines().filter(|it| it.contains(" close ")).count();
    assert!(full.contains("cache.key=\":1:k\"") && !short.contains("cache.key"), "{short}");
    assert!(spans(&full) > 4, "{full}");
    assert_eq!(spans(&full), spans(&short), "{full}\n{short}");
}
