//! Several hosts, few connections, and connections that disappear silently.

use std::{net::TcpListener, time::Duration};

use cache_core::{secs, testing::FakeClock};
use test_servers::{Postgres, Proxy, Server as _, Silent};

use crate::support::{
    NO_BREAKER, PATIENT, cache, cache_by, number, options, raw, slowly_by, timed, timed_by, until,
    until_by, url,
};

/// More than connecting takes, and less than a silent host would take.
const CONNECT: &str = "deadline = \"20s\"\nconnect_deadline = \"10s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_host_does_not_prevent_trying_the_next() {
    let server = Postgres::start().unwrap();
    let silent = Silent::start().unwrap();
    // A host that accepts connections and sends nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for first in [silent.address(), mute.local_addr().unwrap()] {
        for attributes in ["", "?target_session_attrs=read-write"] {
            let url =
                format!("postgres://postgres@{first},{}/postgres{attributes}", server.address());
            let (res, took) = timed(cache(&url, CONNECT).strict().set("k", &1, secs(60))).await;
            res.unwrap();
            assert!(took < Duration::from_secs(9), "{took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_with_other_attributes_is_skipped() {
    let [reader, writer] = [Postgres::start().unwrap(), Postgres::start().unwrap()];
    let client = raw(&reader).await;
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    until("it is read-only", async || {
        let shown = raw(&reader).await.query_one("SHOW transaction_read_only", &[]).await.unwrap();
        shown.get::<_, String>(0) == "on"
    })
    .await;
    let hosts = format!("{},{}", reader.address(), writer.address());
    let to = |wanted: &str| {
        format!("postgres://postgres@{hosts}/postgres?target_session_attrs={wanted}")
    };
    cache(&to("read-write"), CONNECT).strict().set("k", &1, secs(600)).await.unwrap();
    let found = "SELECT count(*) FROM cache";
    assert_eq!(number(&raw(&writer).await, found).await, 1);
    let none = format!(
        "postgres://postgres@{}/postgres?target_session_attrs=read-write",
        reader.address()
    );
    let error = cache(&none, CONNECT).strict().get::<i32>("k").await.unwrap_err().to_string();
    assert!(error.contains("target_session_attrs"), "{error}");
}

/// A NAT forgets idle connections: the first call is not answered, and no later one fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_idle_connection_is_replaced_after_one_call() {
    let server = Postgres::start().unwrap();
    cache(&server.url(), PATIENT).strict().check().await.unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let more = format!(
        "deadline = \"1s\"\nconnect_deadline = \"20s\"\n{NO_BREAKER}[caches.default.options]\nconnections = 1\n"
    );
    let clock = FakeClock::new();
    let cache = cache_by(&clock, &url, &more).strict();
    for _ in 0..3 {
        until_by(&clock, "it works", async || cache.set("k", &1, secs(600)).await.is_ok()).await;
        // Longer than a deadline.
        clock.advance(Duration::from_millis(1200));
        proxy.swallow_open();
        assert!(timed_by(&clock, cache.get::<i32>("k")).await.0.is_err());
        let second = slowly_by(&clock, cache.get::<i32>("k")).await;
        assert_eq!(second.unwrap(), Some(1), "the second call");
    }
}

/// The process is frozen while the server closes its connections: the next call must not be sent
/// there.
#[tokio::test]
async fn first_call_after_a_freeze_is_served() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    for round in 0..3 {
        cache.set("k", &round, secs(600)).await.unwrap();
        // Nothing runs on the only thread meanwhile.
        server.restart().unwrap();
        cache.set("k", &round, secs(600)).await.unwrap();
    }
}

/// The store uses the connections that the server allows, and `check` reports the missing ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_connections_than_configured_serve_every_key() {
    let server = Postgres::start().unwrap();
    cache(&server.url(), PATIENT).strict().check().await.unwrap();
    let client = raw(&server).await;
    client
        .batch_execute(
            "CREATE ROLE app LOGIN CONNECTION LIMIT 2; GRANT SELECT, INSERT, UPDATE, DELETE ON cache, cache_meta TO app",
        )
        .await
        .unwrap();
    let more = format!("{PATIENT}{NO_BREAKER}[caches.default.options]\nconnections = 6\n");
    let cache = cache(&url(&server, "app", "postgres"), &more).strict();
    for round in 0..3 {
        for i in 0..40 {
            cache.set(&format!("k{i}"), &round, secs(600)).await.unwrap();
            assert_eq!(cache.get::<i32>(&format!("k{i}")).await.unwrap(), Some(round));
        }
    }
    let error = cache.check().await.unwrap_err().to_string();
    assert!(error.contains("too many connections"), "{error}");
    client.batch_execute("ALTER ROLE app CONNECTION LIMIT -1").await.unwrap();
    until("all connections are there", async || cache.check().await.is_ok()).await;
}
