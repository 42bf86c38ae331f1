//! Rows and tables that other sessions have locked.

use std::time::Duration;

use cache_core::{Cache, ErrorKind, Ttl, layer::BreakerState, secs};
use futures_util::future::join_all;
use test_servers::Postgres;
use tokio_postgres::Client;

use crate::support::{NO_BREAKER, PATIENT, cache, options, raw, until};

/// Locks the row of a key until the transaction of this client ends.
async fn lock(client: &Client, key: &str) {
    let key = format!(":1:{key}").into_bytes();
    client.batch_execute("BEGIN").await.unwrap();
    let locked = client.query("SELECT 1 FROM cache WHERE key = $1 FOR UPDATE", &[&key]).await;
    assert_eq!(locked.unwrap().len(), 1);
}

/// Waits until so many sessions of the cache wait for a lock.
async fn wait_for_waiting(client: &Client, count: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'cache-db'";
    until("a session waits for the lock", async || {
        crate::support::number(client, sql).await >= count
    })
    .await;
}

async fn write_locked(cache: &Cache, calls: usize) {
    for it in
        join_all((0..calls).map(|i| async move { cache.set("locked", &i, secs(60)).await })).await
    {
        let error = it.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
}

/// A lock on one key says nothing about the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_row_fails_no_call_of_another_key() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    for connections in [1, 2] {
        let more = format!(
            "deadline = \"1s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nconnections = {connections}\n"
        );
        let cache = cache(&server.url(), &more).strict();
        until("it works", async || cache.set("locked", &0, secs(600)).await.is_ok()).await;
        let keys: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
        for key in &keys {
            cache.set(key, &0, secs(600)).await.unwrap();
        }
        lock(&client, "locked").await;
        let writers = tokio::spawn({
            let cache = cache.clone();
            async move {
                for _ in 0..4 {
                    write_locked(&cache, 8).await;
                }
            }
        });
        let mut calls = 0;
        while !writers.is_finished() {
            for key in &keys {
                assert!(cache.get::<i32>(key).await.unwrap().is_some(), "a read of {key}");
                cache.set(key, &calls, secs(600)).await.unwrap();
                calls += 1;
            }
            assert_eq!(cache.get::<i32>("locked").await.unwrap(), Some(0), "reads wait for no row");
        }
        writers.await.unwrap();
        assert!(calls >= 10, "{calls}");
        assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
        client.batch_execute("ROLLBACK").await.unwrap();
        until("the row is free", async || cache.set("locked", &0, secs(60)).await.is_ok()).await;
    }
}

/// A statement that the server ends says nothing about other statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_or_undone_statements_do_not_open_the_breaker() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(
        &format!("{}?options=-c%20statement_timeout%3D100ms", server.url()),
        "deadline = \"3s\"\nconnect_deadline = \"20s\"\n",
    )
    .strict();
    until("it works", async || cache.set("slow", &0, secs(600)).await.is_ok()).await;
    for (body, kind) in [
        ("PERFORM pg_sleep(60)", ErrorKind::TimedOut),
        ("RAISE EXCEPTION 'undone' USING ERRCODE = '40001'", ErrorKind::Unavailable),
        ("RAISE EXCEPTION 'undone' USING ERRCODE = '40P01'", ErrorKind::Unavailable),
        ("RAISE EXCEPTION 'undone' USING ERRCODE = '55P03'", ErrorKind::TimedOut),
    ] {
        client
            .batch_execute(&format!(
                "CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$; \
                 CREATE OR REPLACE TRIGGER trouble BEFORE UPDATE ON cache FOR EACH ROW EXECUTE FUNCTION trouble()"
            ))
            .await
            .unwrap();
        for _ in 0..12 {
            assert_eq!(cache.set("slow", &0, secs(600)).await.unwrap_err().kind(), kind, "{body}");
        }
        assert_eq!(cache.stats().breaker, Some(BreakerState::Closed), "{body}");
        assert_eq!(cache.get::<i32>("slow").await.unwrap(), Some(0));
    }
}

/// A lifetime begins with the write, not with the call: waiting for a lock takes nothing from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_lock_takes_nothing_from_a_lifetime() {
    const LIFETIME: Duration = Duration::from_secs(30);
    const HELD: Duration = Duration::from_secs(1);
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    let calls =
        ["set", "set_many", "replace", "touch", "update", "add", "incr_or", "incr_or expired"];
    // Other sessions that only lock, that change the row, and that roll a change back.
    for (change, end) in [
        ("", "COMMIT"),
        ("UPDATE cache SET expires = expires + 1", "COMMIT"),
        ("UPDATE cache SET expires = expires + 1", "ROLLBACK"),
    ] {
        for call in calls {
            cache.set("k", &1, secs(600)).await.unwrap();
            if call == "add" || call == "incr_or expired" {
                client.batch_execute("UPDATE cache SET expires = 1").await.unwrap();
            }
            lock(&client, "k").await;
            if !change.is_empty() && call != "add" && call != "incr_or expired" {
                client.batch_execute(change).await.unwrap();
            }
            let write = tokio::spawn({
                let cache = cache.clone();
                async move {
                    match call {
                        "set" => cache.set("k", &2, LIFETIME).await.unwrap(),
                        "set_many" => {
                            assert!(cache.set_many([("k", 2)], LIFETIME).await.unwrap().is_empty());
                        }
                        "replace" => assert!(cache.replace("k", &2, LIFETIME).await.unwrap()),
                        "touch" => assert!(cache.touch("k", LIFETIME).await.unwrap()),
                        "update" => {
                            let new = cache.update("k", LIFETIME, |it: i32| it + 1).await.unwrap();
                            assert_eq!(new, Some(2));
                        }
                        "add" => assert!(cache.add("k", &2, LIFETIME).await.unwrap()),
                        _ => drop(cache.incr_or("k", 1, 1, LIFETIME).await.unwrap()),
                    }
                }
            });
            wait_for_waiting(&client, 1).await;
            // sleeps: the lock must be held for so long
            tokio::time::sleep(HELD).await;
            client.batch_execute(end).await.unwrap();
            write.await.unwrap();
            if call == "incr_or" {
                continue; // It keeps the lifetime that is there.
            }
            let began = std::time::Instant::now();
            let Some(Ttl::Remaining(left)) = cache.ttl("k").await.unwrap() else {
                panic!("{call}: no lifetime")
            };
            let passed = began.elapsed() + HELD / 2;
            assert!(
                left + passed >= LIFETIME && left <= LIFETIME + HELD / 2,
                "{call} {change} {end}: {left:?}"
            );
        }
    }
}

/// An entry that expires while its row is locked is not revived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_that_expires_during_a_lock_is_not_revived() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), PATIENT).strict();
    for call in ["touch", "replace"] {
        cache.set("k", &1, secs(600)).await.unwrap();
        client
            .batch_execute(
                "UPDATE cache SET expires = date_part('epoch', clock_timestamp()) * 1000 + 1500",
            )
            .await
            .unwrap();
        lock(&client, "k").await;
        let write = tokio::spawn({
            let cache = cache.clone();
            async move {
                match call {
                    "touch" => cache.touch("k", secs(60)).await,
                    _ => cache.replace("k", &2, secs(60)).await,
                }
            }
        });
        until("the entry has expired", async || cache.get::<i32>("k").await.unwrap().is_none())
            .await;
        client.batch_execute("COMMIT").await.unwrap();
        assert!(!write.await.unwrap().unwrap(), "{call}");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "{call}");
    }
}

/// A locked table delays every key, so it counts as a failure of the server. It ends with the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_table_costs_the_deadline_until_it_is_free() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(
        &server.url(),
        &format!("deadline = \"1s\"\nconnect_deadline = \"20s\"\n{NO_BREAKER}"),
    )
    .strict();
    until("it works", async || cache.set("k", &1, secs(600)).await.is_ok()).await;
    client.batch_execute("BEGIN; LOCK TABLE cache").await.unwrap();
    for it in
        join_all((0..20).map(|i| cache.get::<i32>(if i % 2 == 0 { "k" } else { "other" }))).await
    {
        assert_eq!(it.unwrap_err().kind(), ErrorKind::TimedOut);
    }
    client.batch_execute("COMMIT").await.unwrap();
    until("it works again", async || cache.get::<i32>("k").await.is_ok_and(|it| it == Some(1)))
        .await;
}
