//! Rows and tables that other sessions have locked.

use std::time::{Duration, Instant};

use cache_core::{Cache, ErrorKind, Ttl, layer::BreakerState, secs, testing::FakeClock};
use futures_util::future::join_all;
use test_servers::Postgres;
use tokio_postgres::Client;

use crate::support::{
    NO_BREAKER, PATIENT, cache, cache_by, options, raw, slowly_by, timed_by, until, until_by,
};

/// Locks the row of a key until the transaction of this client ends.
async fn lock(client: &Client, key: &str) {
    let key = format!(":1:{key}").into_bytes();
    client.batch_execute("BEGIN").await.unwrap();
    let locked = client.query("SELECT 1 FROM cache WHERE key = $1 FOR UPDATE", &[&key]).await;
    assert_eq!(locked.unwrap().len(), 1);
}

/// Waits until so many sessions of the cache wait for a lock. The client is not in a transaction,
/// in which it would not see later sessions.
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

/// A lock on one key says nothing about the server. The clock of the cache stands still while the
/// machine does: a call that waits for no lock has its deadline, however slow the machine is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_row_fails_no_call_of_another_key() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    for connections in [1, 2] {
        let more = format!(
            "deadline = \"1s\"\nconnect_deadline = \"20s\"\n[caches.default.options]\nconnections = {connections}\n"
        );
        let clock = FakeClock::new();
        let cache = cache_by(&clock, &server.url(), &more).strict();
        until_by(&clock, "it works", async || cache.set("locked", &0, secs(600)).await.is_ok())
            .await;
        let keys: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
        for key in &keys {
            slowly_by(&clock, cache.set(key, &0, secs(600))).await.unwrap();
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
                let began = Instant::now();
                let read = slowly_by(&clock, cache.get::<i32>(key)).await;
                assert!(read.unwrap().is_some(), "a read of {key}");
                slowly_by(&clock, cache.set(key, &calls, secs(600))).await.unwrap();
                calls += 1;
                // For the deadlines of the writers.
                clock.advance(began.elapsed().min(Duration::from_millis(10)));
            }
            let read = slowly_by(&clock, cache.get::<i32>("locked")).await;
            assert_eq!(read.unwrap(), Some(0), "reads wait for no row");
        }
        writers.await.unwrap();
        assert!(calls >= 10, "{calls}");
        assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
        client.batch_execute("ROLLBACK").await.unwrap();
        until_by(&clock, "the row is free", async || {
            cache.set("locked", &0, secs(60)).await.is_ok()
        })
        .await;
    }
}

/// A statement that the server ends says nothing about other statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_or_undone_statements_do_not_open_the_breaker() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let clock = FakeClock::new();
    let cache = |parameters: &str| {
        let more = "deadline = \"3s\"\nconnect_deadline = \"20s\"\n";
        cache_by(&clock, &format!("{}{parameters}", server.url()), more).strict()
    };
    let (cache, limited) = (cache(""), cache("?options=-c%20statement_timeout%3D100ms"));
    until_by(&clock, "it works", async || cache.set("slow", &0, secs(600)).await.is_ok()).await;
    for (cache, body, kind) in [
        (&limited, "PERFORM pg_sleep(60)", ErrorKind::TimedOut),
        (&cache, "RAISE EXCEPTION 'undone' USING ERRCODE = '40001'", ErrorKind::Unavailable),
        (&cache, "RAISE EXCEPTION 'undone' USING ERRCODE = '40P01'", ErrorKind::Unavailable),
        (&cache, "RAISE EXCEPTION 'undone' USING ERRCODE = '55P03'", ErrorKind::TimedOut),
    ] {
        client
            .batch_execute(&format!(
                "CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$; \
                 CREATE OR REPLACE TRIGGER trouble BEFORE UPDATE ON cache FOR EACH ROW EXECUTE FUNCTION trouble()"
            ))
            .await
            .unwrap();
        for _ in 0..12 {
            let written = slowly_by(&clock, cache.set("slow", &0, secs(600))).await;
            assert_eq!(written.unwrap_err().kind(), kind, "{body}");
        }
        assert_eq!(cache.stats().breaker, Some(BreakerState::Closed), "{body}");
        until_by(&clock, "it is read", async || match cache.get::<i32>("slow").await {
            Ok(found) => {
                assert_eq!(found, Some(0), "{body}");
                true
            }
            // The limit of the server applies to a read on a slow machine, too.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{body}: {error}");
                false
            }
        })
        .await;
    }
}

/// A lifetime begins with the write, not with the call: waiting for a lock takes nothing from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_lock_takes_nothing_from_a_lifetime() {
    const LIFETIME: Duration = Duration::from_secs(30);
    const HELD: Duration = Duration::from_secs(1);
    let server = Postgres::start().unwrap();
    let (client, watcher) = (raw(&server).await, raw(&server).await);
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
            wait_for_waiting(&watcher, 1).await;
            // sleeps: the lock must be held for so long
            tokio::time::sleep(HELD).await;
            // The lifetime cannot begin earlier, however slow the machine is from here on.
            let released = Instant::now();
            client.batch_execute(end).await.unwrap();
            write.await.unwrap();
            if call == "incr_or" {
                continue; // It keeps the lifetime that is there.
            }
            let Some(Ttl::Remaining(left)) = cache.ttl("k").await.unwrap() else {
                panic!("{call}: no lifetime")
            };
            let passed = released.elapsed() + HELD / 2;
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
/// The clock of the cache moves while the calls wait, and all of them end at the same time.
#[tokio::test]
async fn locked_table_costs_the_deadline_until_it_is_free() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let clock = FakeClock::new();
    let more = format!("deadline = \"1s\"\nconnect_deadline = \"20s\"\n{NO_BREAKER}");
    let cache = cache_by(&clock, &server.url(), &more).strict();
    until_by(&clock, "it works", async || cache.set("k", &1, secs(600)).await.is_ok()).await;
    client.batch_execute("BEGIN; LOCK TABLE cache").await.unwrap();
    let keys = (0..20).map(|i| if i % 2 == 0 { "k" } else { "other" });
    let calls = join_all(keys.map(|it| cache.get::<i32>(it)));
    for it in timed_by(&clock, calls).await.0 {
        assert_eq!(it.unwrap_err().kind(), ErrorKind::TimedOut);
    }
    client.batch_execute("COMMIT").await.unwrap();
    until_by(&clock, "it works again", async || {
        cache.get::<i32>("k").await.is_ok_and(|it| it == Some(1))
    })
    .await;
}
