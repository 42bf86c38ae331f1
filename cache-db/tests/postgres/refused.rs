//! Servers that answer, and do not serve.

use std::{fs, net::TcpListener, thread};

use cache_core::{ErrorKind, secs};
use test_servers::{Postgres, Server as _};

use crate::support::{NO_BREAKER, PATIENT, cache, options, raw, until, url};

#[tokio::test]
async fn a_wrong_password_is_told_without_it() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    client.batch_execute("CREATE ROLE ada LOGIN SUPERUSER PASSWORD 'right'").await.unwrap();
    let path = server.folder().join("data/pg_hba.conf");
    let rules = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("host all ada 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    let with = |login: &str| url(&server, login, "postgres");
    until("it wants a password", async || {
        cache(&with("ada:marked"), PATIENT).check().await.is_err()
    })
    .await;
    for (login, what) in [("ada:marked", "password is wrong"), ("ada", "wants a password")] {
        let cache = cache(&with(login), PATIENT);
        let error = cache.strict().get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        let text = format!("{error} {error:?}");
        assert!(text.contains(what) && !text.contains("marked"), "{text}");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
    }
    cache(&with("ada:right"), PATIENT).strict().set("k", &1, None).await.unwrap();
}

#[tokio::test]
async fn an_unknown_database_or_user_is_told() {
    let server = Postgres::start().unwrap();
    for (user, database, what) in [
        ("postgres", "nowhere", "no database of that name"),
        ("nobody", "postgres", "refuses this user"),
    ] {
        let cache = cache(&url(&server, user, database), PATIENT).strict();
        let error = cache.get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// No name has so long a part, so nobody need be asked for it.
#[tokio::test]
async fn an_unknown_host_cannot_be_connected_to() {
    let url = format!("postgres://{}.invalid/d", "x".repeat(64));
    let cache = cache(&url, PATIENT).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

/// Whoever it is that listens there.
#[tokio::test]
async fn a_server_that_hangs_up_at_once_cannot_be_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/d", listener.local_addr().unwrap());
    thread::spawn(move || while listener.accept().is_ok() {});
    let error = cache(&url, PATIENT).strict().get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn a_server_with_too_many_connections_is_unavailable() {
    let server =
        Postgres::start_with(&["max_connections=4", "superuser_reserved_connections=0"]).unwrap();
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(raw(&server).await);
    }
    let cache = cache(&server.url(), &format!("{PATIENT}{NO_BREAKER}")).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("max_connections"), "{error}");
    drop(others);
    until("there is room", async || cache.get::<i32>("k").await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_read_from() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &format!("{PATIENT}{NO_BREAKER}"));
    cache.set("k", &1, secs(600)).await.unwrap();
    let client = raw(&server).await;
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    let strict = cache.strict();
    until("it is read-only", async || strict.set("k", &2, None).await.is_err()).await;
    let error = strict.set("k", &2, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("takes no writes"), "{error}");
    assert_eq!(strict.get::<i32>("k").await.unwrap().map(|it| it > 0), Some(true));
    cache.set("other", &2, None).await.unwrap();
    assert_eq!(cache.add("new", &2, None).await.unwrap_err().kind(), ErrorKind::Backend);
    client.batch_execute("SET default_transaction_read_only = off; ").await.unwrap();
    client.batch_execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    until("it takes writes again", async || strict.set("k", &3, None).await.is_ok()).await;
}

/// A transaction of somebody's that has touched a row costs its deadline, and no connection.
#[tokio::test]
async fn a_row_that_somebody_locks_costs_the_deadline() {
    let server = Postgres::start().unwrap();
    let patient = cache(&server.url(), PATIENT).strict();
    patient.set("k", &1, secs(600)).await.unwrap();
    let cache = cache(&server.url(), &format!("deadline = \"1s\"\n{NO_BREAKER}")).strict();
    let client = raw(&server).await;
    client.batch_execute("BEGIN; SELECT * FROM cache FOR UPDATE").await.unwrap();
    for _ in 0..3 {
        let error = cache.incr("k", 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert_eq!(patient.get::<i32>("k").await.unwrap(), Some(1), "reading waits for nobody");
    until("reading goes on here, too", async || {
        cache.get::<i32>("k").await.is_ok_and(|it| it == Some(1))
    })
    .await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let idle = async || cache.set("other", &1, None).await.is_ok();
    until("nobody is waiting at the server", idle).await;
    assert_eq!(patient.incr("k", 1).await.unwrap(), 2, "what was given up has not counted");
}

/// Nothing in an error is a value, even where the server's own words quote it.
#[tokio::test]
async fn no_error_shows_a_value() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("")).strict();
    cache.check().await.unwrap();
    client
        .batch_execute("ALTER TABLE cache ADD CONSTRAINT c CHECK (octet_length(value) < 5)")
        .await
        .unwrap();
    let error = cache.set("k", &"marked", None).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("23514") && !text.contains("marked"), "{text}");
}
