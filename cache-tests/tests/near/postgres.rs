//! PostgreSQL: `LISTEN` and `NOTIFY`.

use std::time::Duration;

use cache_core::{Cache, Caches, NearInvalidation, Timeout, Ttl, secs};
use test_servers::{Postgres, Server as _};

use crate::{
    far::{UPSERT, sql},
    support::{cache, caches, connected, near, visible, wait_until, warm},
};

const TRIGGERS: &str = "options.notify_triggers = true";

/// Makes all of these keys near.
async fn warm_all(cache: &Cache, keys: &[&str]) {
    wait_until("all keys are near", async || {
        let before = near(cache).hits;
        cache.get_many::<i64, _>(keys.iter().copied()).await.unwrap();
        near(cache).hits - before == keys.len() as u64
    })
    .await;
}

/// Another handle is like another process. Its writes notify, because it has a near tier, too.
#[tokio::test]
async fn each_write_of_another_process_is_visible() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", "").await;
    let other = cache(&server.url(), "", "").strict();
    let set = async |value: i64| {
        other.set("k", &value, secs(600)).await.unwrap();
        visible(&reader, Some(value)).await;
        warm(&reader).await;
    };
    set(1).await;
    set(2).await;
    other.set_many([("k", &3), ("l", &3)], secs(600)).await.unwrap().into_result().unwrap();
    visible(&reader, Some(3)).await;
    warm(&reader).await;
    assert_eq!(other.incr("k", 5).await.unwrap(), 8);
    visible(&reader, Some(8)).await;
    warm(&reader).await;
    assert_eq!(other.incr_or("k", 1, 0, secs(600)).await.unwrap(), 9);
    visible(&reader, Some(9)).await;
    warm(&reader).await;
    other.update("k", secs(600), |it: i64| it + 1).await.unwrap();
    visible(&reader, Some(10)).await;
    warm(&reader).await;
    assert!(other.replace("k", &11, secs(600)).await.unwrap());
    visible(&reader, Some(11)).await;
    warm(&reader).await;
    assert!(other.touch("k", secs(9000)).await.unwrap());
    wait_until("the new lifetime is visible", async || {
        let ttl = reader.ttl("k").await.unwrap().unwrap();
        matches!(ttl, Ttl::Remaining(left) if left > Duration::from_secs(600))
    })
    .await;
    warm(&reader).await;
    assert_eq!(other.pop::<i64>("k").await.unwrap(), Some(11));
    visible(&reader, None).await;
    assert!(other.add("k", &12, secs(600)).await.unwrap());
    visible(&reader, Some(12)).await;
    warm(&reader).await;
    assert!(other.delete("k").await.unwrap());
    visible(&reader, None).await;
    set(13).await;
    other.delete_many(["k", "l"]).await.unwrap();
    visible(&reader, None).await;
    set(14).await;
    other.clear().await.unwrap();
    visible(&reader, None).await;
    set(15).await;
    other.clear_store().await.unwrap();
    visible(&reader, None).await;
    let stats = near(&reader);
    assert_eq!(stats.resets, 2, "the begin, and clear_store: {stats:?}");
}

#[tokio::test]
async fn both_keys_of_a_move_are_reported() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", "").await;
    let next = cache(&server.url(), "timeout = '1h'", "version = 2");
    let other = cache(&server.url(), "", "").strict();
    next.check().await.unwrap();
    other.set("k", &1, secs(600)).await.unwrap();
    visible(&reader, Some(1)).await;
    warm(&reader).await;
    next.set("k", &0, secs(600)).await.unwrap();
    warm(&next).await;
    other.incr_version("k", 1).await.unwrap();
    visible(&reader, None).await;
    visible(&next, Some(1)).await;
}

#[tokio::test]
async fn long_keys_and_large_batches_are_reported_by_name() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", "deadline = '20s'").await;
    let other = cache(&server.url(), "", "deadline = '20s'").strict();
    // 226 bytes with the head `:1:` and the number.
    let long = "ü".repeat(111);
    let mut keys: Vec<String> = (0..1000).map(|it| format!("{long}{it:04}")).collect();
    keys.extend(["back\\slash", "a,b\\,c", "\\303"].map(str::to_owned));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for value in 1..4_i64 {
        let all = || keys.iter().map(|it| (*it, &value));
        let before = near(&reader).invalidations;
        other.set_many(all(), secs(600)).await.unwrap().into_result().unwrap();
        wait_until("the values are visible", async || {
            let found = reader.get_many::<i64, _>(keys.iter().copied()).await.unwrap();
            found.len() == keys.len() && found.values().all(|it| *it == value)
        })
        .await;
        wait_until("all messages", async || {
            near(&reader).invalidations - before == keys.len() as u64
        })
        .await;
        warm_all(&reader, &keys).await;
    }
    other.delete_many(keys.iter().copied()).await.unwrap();
    wait_until("all are gone", async || {
        reader.get_many::<i64, _>(keys.iter().copied()).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(near(&reader).resets, 1, "at the begin");
}

#[tokio::test]
async fn own_writes_are_visible_at_once() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", "").await;
    for round in 0..300 {
        reader.set("k", &round, secs(600)).await.unwrap();
        assert_eq!(reader.get::<i64>("k").await.unwrap(), Some(round));
        if round % 10 == 0 {
            warm(&reader).await;
        }
    }
    reader.delete("k").await.unwrap();
    assert_eq!(reader.get::<i64>("k").await.unwrap(), None);
}

/// With triggers, any writer counts: a cache without a near tier, and plain SQL.
#[tokio::test]
async fn write_of_any_client_is_visible_with_triggers() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", TRIGGERS).await;
    let client = sql(&server).await;
    let writes: [(&str, Option<i64>); 8] = [
        (UPSERT, Some(2)),
        ("UPDATE cache SET value = '3' WHERE key = ':1:k'", Some(3)),
        ("UPDATE cache SET key = ':1:l' WHERE key = ':1:k'", None),
        ("UPDATE cache SET key = ':1:k' WHERE key = ':1:l'", Some(3)),
        ("DELETE FROM cache", None),
        ("INSERT INTO cache (key, value) VALUES (':1:k', '4')", Some(4)),
        ("TRUNCATE cache", None),
        (
            "INSERT INTO cache (key, value) SELECT ':1:' || chr(96 + n)::bytea, '5' \
             FROM generate_series(1, 26) n",
            Some(5),
        ),
    ];
    for (sql, expected) in writes {
        let value: &[u8] = b"2";
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&value];
        let params = if sql.contains("$1") { params } else { &[] };
        client.execute(sql, params).await.unwrap();
        visible(&reader, expected).await;
        if expected.is_some() {
            warm(&reader).await;
        }
    }
    let other = {
        let text = format!(
            "[caches.default]\nbackend = 'db'\nlocation = '{}'\ndeadline = '20s'",
            server.url()
        );
        Caches::from_toml(&text).unwrap().get("default").unwrap().strict()
    };
    other.set("k", &6, secs(600)).await.unwrap();
    visible(&reader, Some(6)).await;
    warm(&reader).await;
    // More keys than a statement names.
    let resets = near(&reader).resets;
    let many = "INSERT INTO cache (key, value) SELECT ('many' || n)::bytea, '' FROM generate_series(1, 1001) n";
    client.execute(many, &[]).await.unwrap();
    wait_until("the tier is emptied", async || near(&reader).resets == resets + 1).await;
    warm(&reader).await;
    // A transaction that is rolled back changes nothing.
    let before = near(&reader);
    client.batch_execute("BEGIN; DELETE FROM cache; ROLLBACK").await.unwrap();
    client.execute("DELETE FROM cache WHERE key = ':1:k'", &[]).await.unwrap();
    visible(&reader, None).await;
    let after = near(&reader);
    assert_eq!((after.resets, after.invalidations), (before.resets, before.invalidations + 1));
}

/// Expired entries are in no near tier, so their removal is not reported.
#[tokio::test]
async fn trigger_is_silent_about_expired_entries() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", TRIGGERS).await;
    let client = sql(&server).await;
    client
        .execute("INSERT INTO cache (key, value, expires) VALUES ('old', '', 1)", &[])
        .await
        .unwrap();
    client.execute(UPSERT, &[&b"1".as_slice()]).await.unwrap();
    // Before the message, a read would find the value, but would not keep it.
    wait_until("the message of the write", async || near(&reader).invalidations > 0).await;
    warm(&reader).await;
    let before = near(&reader);
    client.execute("DELETE FROM cache WHERE key = 'old'", &[]).await.unwrap();
    client.execute("DELETE FROM cache", &[]).await.unwrap();
    visible(&reader, None).await;
    let after = near(&reader);
    assert_eq!((after.resets, after.invalidations), (before.resets, before.invalidations + 1));
}

/// An administrator notifies by hand: an empty message, and one that cannot be read.
#[tokio::test]
async fn message_that_cannot_be_read_empties_the_tier() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", "").await;
    let client = sql(&server).await;
    reader.set("k", &1, secs(600)).await.unwrap();
    for message in ["", "\\x", "a\\"] {
        warm(&reader).await;
        let resets = near(&reader).resets;
        let notify = "SELECT pg_notify('cache_db_1_' || 'cache'::regclass::oid, $1)";
        client.execute(notify, &[&message]).await.unwrap();
        wait_until("the tier is emptied", async || near(&reader).resets == resets + 1).await;
    }
}

/// An administrator drops the table, or the triggers.
#[tokio::test]
async fn dropped_table_or_trigger_is_noticed() {
    let server = Postgres::start().unwrap();
    let reader = connected(&server.url(), "postgres", TRIGGERS).await;
    let client = sql(&server).await;
    for change in [
        "DROP TABLE cache; DROP TABLE cache_meta",
        "DROP TRIGGER cache_notify1_insert ON cache",
        "DROP FUNCTION cache_notify1 CASCADE",
    ] {
        reader.set("k", &1, Timeout::Never).await.unwrap();
        warm(&reader).await;
        let resets = near(&reader).resets;
        client.batch_execute(change).await.unwrap();
        wait_until("the stream began anew", async || near(&reader).resets > resets).await;
        wait_until("the tier is in use", async || {
            reader.set("k", &2, Timeout::Never).await.unwrap();
            reader.get::<i64>("k").await.unwrap() == Some(2) && !near(&reader).is_bypassed
        })
        .await;
        warm(&reader).await;
        client.execute(UPSERT, &[&b"3".as_slice()]).await.unwrap();
        visible(&reader, Some(3)).await;
    }
    client.batch_execute("ALTER TABLE cache DISABLE TRIGGER ALL").await.unwrap();
    wait_until("the tier is bypassed", async || near(&reader).is_bypassed).await;
    wait_until("the check says why", async || {
        reader.check().await.is_err_and(|it| it.to_string().contains("is disabled"))
    })
    .await;
    client.batch_execute("ALTER TABLE cache ENABLE TRIGGER ALL").await.unwrap();
    wait_until("the tier is in use", async || !near(&reader).is_bypassed).await;
}

#[tokio::test]
async fn postgres_is_chosen_where_it_works() {
    let server = Postgres::start().unwrap();
    let report = caches(&server.url(), "", "").check().await;
    assert_eq!(report.to_string(), "default: ok, near tier with invalidation postgres");

    let text = |location: &str, invalidation: &str| {
        format!(
            "[caches.default]\nbackend = 'db'\nlocation = '{location}'\n\
             near = {{ invalidation = '{invalidation}' }}"
        )
    };
    // Reads of a standby may be older than the message about a change.
    for (location, invalidation) in
        [("postgres://a,b/d", "postgres"), ("postgres://a/d", "tracking"), ("cache.db", "postgres")]
    {
        let error = Caches::from_toml(&text(location, invalidation)).unwrap_err().to_string();
        assert!(error.contains("near.invalidation"), "{error}");
    }
    for (location, expected) in [
        ("postgres://a,b/d", NearInvalidation::None),
        ("postgres://a,b/d?target_session_attrs=read-write", NearInvalidation::Postgres),
        ("cache.db", NearInvalidation::None),
    ] {
        let caches = Caches::from_toml(&text(location, "auto")).unwrap();
        assert_eq!(near(caches.get("default").unwrap()).invalidation, expected, "{location}");
    }
}

/// An entry that is evicted is absent for all processes.
#[tokio::test]
async fn evicted_entries_are_reported() {
    let server = Postgres::start().unwrap();
    let more = "options.max_entries = 100";
    let reader = connected(&server.url(), "postgres", more).await;
    let other = cache(&server.url(), "", more).strict();
    other.set("k", &1, secs(600)).await.unwrap();
    visible(&reader, Some(1)).await;
    warm(&reader).await;
    for i in 0..300 {
        other.set(&format!("other-{i}"), &i, secs(600)).await.unwrap();
    }
    visible(&reader, None).await;
    assert!(server.is_running());
}
