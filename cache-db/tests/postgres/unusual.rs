//! Servers with other settings, unusual bytes, and extreme times.

use std::{sync::Arc, time::Duration};

use cache_core::{
    Timeout, Ttl, secs,
    store::{CounterInit, Expected, Expiry, SetMode, TtlUpdate},
    testing::FakeClock,
};
use test_servers::{Postgres, Server as _};

use crate::support::{
    NO_BREAKER, cache, cache_by, number, options, raw, slowly_by, store, timed_by, until, until_by,
    url,
};

const LONG: Expiry = Expiry::After(Duration::from_secs(600));

/// Settings that must not change the meaning of a statement.
#[tokio::test]
async fn settings_of_the_server_change_nothing() {
    let server = Postgres::start_with(&[
        "standard_conforming_strings=off",
        "TimeZone=Asia/Kathmandu",
        "DateStyle=SQL,DMY",
        "IntervalStyle=sql_standard",
        "bytea_output=escape",
        "extra_float_digits=-15",
        "default_transaction_isolation=serializable",
        "enable_indexscan=off",
        "array_nulls=off",
        "transform_null_equals=on",
        "escape_string_warning=on",
        "row_security=off",
    ])
    .unwrap();
    let store = store(&server.url(), &options("table = 'a\\b%s$1'"));
    store.set("n", "41".into(), LONG, SetMode::Always).await.unwrap();
    assert_eq!(store.incr("n", 1, None).await.unwrap(), Some(42));
    let ttl = store.ttl("n").await.unwrap();
    assert!(
        matches!(ttl, Some(Ttl::Remaining(it)) if it > Duration::from_secs(590) && it <= Duration::from_millis(600_002)),
        "{ttl:?}"
    );
    let entry = store.get_entry("n").await.unwrap().unwrap();
    let kept = store
        .compare_and_set("n", Expected::entry(&entry), "\\x00\0'\u{0}".into(), TtlUpdate::Keep)
        .await;
    assert!(kept.unwrap());
    assert_eq!(store.get("n").await.unwrap().unwrap(), "\\x00\0'\u{0}");
    assert!(store.rename("n", "m\\'%").await.unwrap());
    assert_eq!(store.take("m\\'%").await.unwrap().unwrap(), "\\x00\0'\u{0}");
    store.clear_store().await.unwrap();
}

#[tokio::test]
async fn other_encoding_and_own_schema_work() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let sql = format!(
            "CREATE DATABASE {encoding} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'"
        );
        client.batch_execute(&sql).await.unwrap();
        let at = url(&server, "postgres", &encoding.to_lowercase());
        crate::support::raw_as(&at)
            .await
            .batch_execute("CREATE SCHEMA \"Own\"; CREATE TABLE cache (x int)")
            .await
            .unwrap();
        let at = format!("{at}?options=-c%20search_path%3D%22Own%22");
        let cache = cache(&at, &options("table = 'Über'")).strict();
        for key in ["größe", "日本", "\u{a0}", "%s", "\\x41"] {
            cache.set(key, &key, Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<String>(key).await.unwrap().as_deref(), Some(key));
            assert_eq!(cache.delete_many([key]).await.unwrap(), 1);
        }
        let plain = crate::support::cache(&at, &options("")).strict();
        plain.incr_or("n", 1, 0, secs(9)).await.unwrap();
        plain.clear_store().await.unwrap();
    }
}

#[tokio::test]
async fn extreme_times_saturate() {
    let server = Postgres::start().unwrap();
    for deadline in ["60d", "1440h", "5124095576030431s", "18446744073709551615s"] {
        let more =
            format!("deadline = \"{deadline}\"\nconnect_deadline = \"{deadline}\"\n{NO_BREAKER}");
        let Ok(caches) = cache_core::Caches::from_toml(&crate::support::toml(&server.url(), &more))
        else {
            eprintln!("{deadline} refused");
            continue;
        };
        let cache = caches.get("default").unwrap().strict();
        cache.set("k", &1, Duration::MAX).await.unwrap();
        assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Forever));
        cache.clear().await.unwrap();
    }
    let store = store(&server.url(), &options(""));
    for time in [
        Duration::from_nanos(1),
        Duration::from_secs(1 << 40),
        Duration::from_micros(1 << 61),
        Duration::MAX,
    ] {
        let create = Some(CounterInit::new(0, Expiry::After(time)));
        store.set("k", "1".into(), Expiry::After(time), SetMode::Always).await.unwrap();
        store.incr("n", 1, create).await.unwrap();
        store.touch("n", Expiry::After(time)).await.unwrap();
        if time > Duration::from_secs(1) {
            assert!(
                store.has("k").await.unwrap() && store.ttl("n").await.unwrap().is_some(),
                "{time:?}"
            );
        }
    }
}

#[tokio::test]
async fn empty_batches_and_duplicate_keys_are_answered() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("")).strict();
    let none: [(&str, i32); 0] = [];
    assert!(cache.set_many(none, Timeout::Default).await.unwrap().is_empty());
    assert!(cache.get_many::<i32, &str>([]).await.unwrap().is_empty());
    assert_eq!(cache.delete_many::<&str>([]).await.unwrap(), 0);
    assert!(cache.set_many([("a", 1), ("a", 2)], Timeout::Default).await.unwrap().is_empty());
    assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(2));
    assert_eq!(cache.get_many::<i32, _>(["a", "a"]).await.unwrap().len(), 1);
    assert_eq!(cache.delete_many(["a", "a"]).await.unwrap(), 1);
    let items = (0..10_000).map(|i| (format!("k{i}"), i));
    assert!(cache.set_many(items, Timeout::Default).await.unwrap().is_empty());
    let found = cache.get_many::<i32, _>((0..10_000).map(|i| format!("k{i}"))).await.unwrap();
    assert_eq!(found.len(), 10_000);
}

/// Each attempt is undone after most of the deadline, by the clock of the cache: when the test has
/// moved the clock, it lets the attempt go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attempts_of_a_call_share_one_deadline() {
    const MOST: Duration = Duration::from_millis(2400);
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let clock = FakeClock::new();
    let more = format!("deadline = \"3s\"\nconnect_deadline = \"3s\"\n{NO_BREAKER}");
    let cache = cache_by(&clock, &server.url(), &more).strict();
    slowly_by(&clock, cache.set("k", &1, secs(600))).await.unwrap();
    client
        .batch_execute(
            "CREATE SEQUENCE attempts; CREATE TABLE allowed (n bigint); INSERT INTO allowed VALUES (0); \
             CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE n bigint := nextval('attempts'); \
             BEGIN WHILE (SELECT a.n FROM allowed a) < n LOOP PERFORM pg_sleep(0.01); END LOOP; \
             RAISE EXCEPTION 'undone' USING ERRCODE = '40001'; END $$; \
             CREATE TRIGGER undo BEFORE UPDATE ON cache FOR EACH ROW EXECUTE FUNCTION undo()",
        )
        .await
        .unwrap();
    let call = tokio::spawn({
        let cache = cache.clone();
        async move { cache.touch("k", secs(60)).await }
    });
    let attempts = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM attempts";
    let mut made = 0;
    until("the call has ended", async || {
        // For pauses of the store.
        clock.advance(Duration::from_micros(100));
        let attempt = number(&client, attempts).await;
        if attempt > made {
            made = attempt;
            clock.advance(MOST);
            client.execute("UPDATE allowed SET n = $1", &[&attempt]).await.unwrap();
        }
        call.is_finished()
    })
    .await;
    assert!(call.await.unwrap().is_err());
    assert_eq!(made, 2, "attempts, of {MOST:?} each");
    client.batch_execute("DROP TRIGGER undo ON cache").await.unwrap();
    until_by(&clock, "it works", async || cache.touch("k", secs(60)).await.is_ok_and(|it| it))
        .await;
    assert!(server.folder().exists());
}

/// A moved entry exists once, whatever else moves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_renamed_concurrently_is_neither_lost_nor_duplicated() {
    let server = Postgres::start_with(&["deadlock_timeout=10ms"]).unwrap();
    let store = store(&server.url(), &options("connections = 6"));
    store.set("k0", "token".into(), LONG, SetMode::Always).await.unwrap();
    let moment = Expiry::After(Duration::from_millis(1));
    for key in ["k1", "k2"] {
        store.set(key, "expired".into(), moment, SetMode::Always).await.unwrap();
        until("it has expired", async || !store.has(key).await.unwrap()).await;
    }
    let tasks = (0..6).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut moved = 0;
            for i in 0..300 {
                let (from, to) =
                    (format!("k{}", (i + task) % 4), format!("k{}", (i * task + 1) % 4));
                if from != to {
                    moved += usize::from(store.rename(&from, &to).await.unwrap());
                }
            }
            moved
        })
    });
    let moved = futures_util::future::join_all(tasks).await.into_iter().map(Result::unwrap);
    assert!(moved.sum::<usize>() > 10);
    let found = store.get_many(&["k0", "k1", "k2", "k3"]).await;
    let tokens = found.into_iter().filter(|it| it.as_ref().unwrap().as_deref() == Some(b"token"));
    assert_eq!(tokens.count(), 1);
}

/// By the cache's own clock, which moves while the calls wait.
#[tokio::test]
async fn large_batch_waits_for_a_frozen_server_only_once() {
    /// Both deadlines once. Each of six parts would wait for a deadline.
    const ONCE: Duration = Duration::from_millis(2500);
    let server = Postgres::start().unwrap();
    let clock = FakeClock::new();
    let more = format!("deadline = \"1s\"\nconnect_deadline = \"1s\"\n{NO_BREAKER}");
    let cache = cache_by(&clock, &server.url(), &more).strict();
    let keys: Vec<String> = (0..6_000).map(|i| format!("k{i}")).collect();
    until_by(&clock, "it works", async || cache.set("k", &1, Timeout::Default).await.is_ok()).await;
    server.freeze();
    for _ in 0..2 {
        let items = keys.iter().map(|it| (it, 1));
        let (failed, took) = timed_by(&clock, cache.set_many(items, Timeout::Default)).await;
        assert_eq!(failed.unwrap().len(), keys.len());
        assert!(took < ONCE, "{took:?}");
        let (failed, took) = timed_by(&clock, cache.delete_many(&keys)).await;
        assert!(failed.is_err() && took < ONCE, "{failed:?}, {took:?}");
        let (failed, took) = timed_by(&clock, cache.get_many::<i32, _>(&keys)).await;
        let failed = failed.map(|it| it.len());
        assert!(failed.is_err() && took < ONCE, "{failed:?}, {took:?}");
    }
    server.thaw();
}
