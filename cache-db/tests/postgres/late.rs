//! Writes that failed, and that the network delivers later.

use std::{process::Command, time::Duration};

use cache_core::{ErrorKind, secs};
use test_servers::{Postgres, Proxy, Server as _};

use crate::support::{NO_BREAKER, PATIENT, cache, raw, until};

const ROUNDS: i32 = 8;

fn through(proxy: &Proxy, connections: usize) -> cache_core::Cache {
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let more = format!(
        "deadline = \"300ms\"\n{NO_BREAKER}[caches.default.options]\nconnections = {connections}\n"
    );
    cache(&url, &more)
}

/// A proxy holds what was sent, and delivers it after the connection was aborted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_write_does_not_arrive_after_an_acknowledged_delete() {
    let server = Postgres::start().unwrap();
    let patient = cache(&server.url(), PATIENT).strict();
    patient.check().await.unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    for connections in [1, 3] {
        let cache = through(&proxy, connections);
        let strict = cache.strict();
        for round in 0..ROUNDS {
            until("it works", async || strict.set("k", &-1, secs(600)).await.is_ok()).await;
            proxy.hold_open();
            cache.set("k", &round, secs(600)).await.unwrap();
            until("the delete is acknowledged", async || strict.delete("k").await.is_ok()).await;
            assert_eq!(patient.get::<i32>("k").await.unwrap(), None);
            proxy.release();
            for _ in 0..20 {
                // sleeps: held bytes take a moment to arrive
                tokio::time::sleep(Duration::from_millis(10)).await;
                assert_eq!(patient.get::<i32>("k").await.unwrap(), None, "round {round}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_delete_does_not_make_a_second_winner_of_add() {
    let server = Postgres::start().unwrap();
    let patient = cache(&server.url(), PATIENT).strict();
    patient.check().await.unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let strict = through(&proxy, 2).strict();
    for round in 0..ROUNDS {
        // All connections are there: one that is being made would not be held.
        until("it works", async || {
            strict.check().await.is_ok() && strict.delete("k").await.is_ok()
        })
        .await;
        proxy.hold_open();
        assert_eq!(strict.delete("k").await.unwrap_err().kind(), ErrorKind::TimedOut);
        // An attempt without an answer may have won.
        let mut won = false;
        until("an add is answered", async || match strict.add("k", &round, secs(600)).await {
            Ok(it) => {
                won = it;
                true
            }
            Err(_) => false,
        })
        .await;
        assert!(won || patient.has_key("k").await.unwrap());
        proxy.release();
        for _ in 0..20 {
            // sleeps: held bytes take a moment to arrive
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(!patient.add("k", &-1, secs(600)).await.unwrap(), "round {round}");
        }
    }
}

/// A process of the server is frozen with the write in its socket, and goes on later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_session_does_not_write_after_an_acknowledged_delete() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let patient = cache(&server.url(), &format!("{PATIENT}key_prefix = \"p\"\n")).strict();
    patient.check().await.unwrap();
    patient.close().await.unwrap();
    let ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'cache-db'";
    until("no other session is there", async || client.query(ours, &[]).await.unwrap().is_empty())
        .await;
    let more =
        format!("deadline = \"300ms\"\n{NO_BREAKER}[caches.default.options]\nconnections = 1\n");
    let cache = cache(&server.url(), &more);
    let strict = cache.strict();
    until("it works", async || strict.set("k", &1, secs(600)).await.is_ok()).await;
    // Not the session that trims the table: it has nothing to write, and stays.
    let writers = format!("{ours} AND query LIKE 'INSERT INTO%'");
    let pids = client.query(&writers, &[]).await.unwrap();
    assert!(!pids.is_empty(), "no session has written");
    let signal = |name: &str| {
        for row in &pids {
            let pid = row.get::<_, i32>(0).to_string();
            assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        }
    };
    signal("-STOP");
    cache.set("k", &2, secs(600)).await.unwrap();
    until("the delete is acknowledged", async || strict.delete("k").await.is_ok()).await;
    signal("-CONT");
    until("the old session has ended", async || {
        let left = client.query(ours, &[]).await.unwrap();
        left.iter().all(|it| pids.iter().all(|old| old.get::<_, i32>(0) != it.get::<_, i32>(0)))
    })
    .await;
    let patient = crate::support::cache(&server.url(), PATIENT).strict();
    assert_eq!(patient.get::<i32>("k").await.unwrap(), None);
}
