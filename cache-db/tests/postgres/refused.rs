//! Servers that answer, and refuse.

use std::{fs, net::TcpListener, thread};

use cache_core::{ErrorKind, Timeout, secs, testing::FakeClock};
use test_servers::{Postgres, Server as _};

use crate::support::{NO_BREAKER, PATIENT, cache, cache_by, options, raw, slowly_by, until, url};

#[tokio::test]
async fn wrong_password_is_reported_without_showing_it() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    client.batch_execute("CREATE ROLE ada LOGIN SUPERUSER PASSWORD 'right'").await.unwrap();
    let path = server.folder().join("data/pg_hba.conf");
    let rules = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("host all ada 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    let with = |login: &str| url(&server, login, "postgres");
    until("it requires a password", async || {
        cache(&with("ada:marked"), PATIENT).check().await.is_err()
    })
    .await;
    for (login, what) in [("ada:marked", "wrong password"), ("ada", "requires a password")] {
        let cache = cache(&with(login), PATIENT);
        let error = cache.strict().get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        let text = format!("{error} {error:?}");
        assert!(text.contains(what) && !text.contains("marked"), "{text}");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
    }
    cache(&with("ada:right"), PATIENT).strict().set("k", &1, Timeout::Default).await.unwrap();
    // In an option, unlike in the location, no character needs an escape.
    client.batch_execute("ALTER ROLE ada PASSWORD 'p@r#i/g%h?t:'").await.unwrap();
    let more = options("username = \"ada\"\npassword = \"p@r#i/g%h?t:\"");
    let location = format!("postgres://{}/postgres", server.address());
    cache(&location, &more).strict().set("k", &1, Timeout::Default).await.unwrap();
    let more = options("username = \"ada\"\npassword = \"marked\"");
    let error = cache(&location, &more).strict().get::<i32>("k").await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("wrong password") && !text.contains("marked"), "{text}");
}

#[tokio::test]
async fn unknown_database_or_user_is_reported() {
    let server = Postgres::start().unwrap();
    for (user, database, what) in
        [("postgres", "nowhere", "does not exist"), ("nobody", "postgres", "authentication failed")]
    {
        let cache = cache(&url(&server, user, database), PATIENT).strict();
        let error = cache.get::<i32>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// No host name has such a long label, so no DNS server is needed.
#[tokio::test]
async fn unknown_host_is_reported() {
    let url = format!("postgres://{}.invalid/d", "x".repeat(64));
    let cache = cache(&url, PATIENT).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

/// A program that is not a PostgreSQL server may listen there.
#[tokio::test]
async fn server_that_closes_at_once_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/d", listener.local_addr().unwrap());
    thread::spawn(move || while listener.accept().is_ok() {});
    let error = cache(&url, PATIENT).strict().get::<i32>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn server_with_too_many_connections_is_unavailable() {
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
async fn read_only_server_serves_reads() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &format!("{PATIENT}{NO_BREAKER}"));
    cache.set("k", &1, secs(600)).await.unwrap();
    let client = raw(&server).await;
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    let strict = cache.strict();
    until("it is read-only", async || strict.set("k", &2, Timeout::Default).await.is_err()).await;
    let error = strict.set("k", &2, Timeout::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("read-only"), "{error}");
    assert_eq!(strict.get::<i32>("k").await.unwrap().map(|it| it > 0), Some(true));
    cache.set("other", &2, Timeout::Default).await.unwrap();
    assert_eq!(
        cache.add("new", &2, Timeout::Default).await.unwrap_err().kind(),
        ErrorKind::Backend
    );
    client.batch_execute("SET default_transaction_read_only = off; ").await.unwrap();
    client.batch_execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    client.query("SELECT pg_reload_conf()", &[]).await.unwrap();
    until("it takes writes again", async || strict.set("k", &3, Timeout::Default).await.is_ok())
        .await;
}

/// A transaction of another session that locks a row costs the deadline, and no connection.
#[tokio::test]
async fn row_locked_by_another_session_costs_the_deadline() {
    let server = Postgres::start().unwrap();
    let patient = cache(&server.url(), PATIENT).strict();
    patient.set("k", &1, secs(600)).await.unwrap();
    // Its clock moves slowly, so that the server itself ends each increment before the deadline.
    let clock = FakeClock::new();
    let more = format!("deadline = \"1s\"\n{NO_BREAKER}");
    let cache = cache_by(&clock, &server.url(), &more).strict();
    let client = raw(&server).await;
    client.batch_execute("BEGIN; SELECT * FROM cache FOR UPDATE").await.unwrap();
    for _ in 0..3 {
        let error = slowly_by(&clock, cache.incr("k", 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    assert_eq!(patient.get::<i32>("k").await.unwrap(), Some(1), "reads do not wait");
    let found = slowly_by(&clock, cache.get::<i32>("k")).await;
    assert_eq!(found.unwrap(), Some(1), "here neither");
    client.batch_execute("ROLLBACK").await.unwrap();
    slowly_by(&clock, cache.set("other", &1, Timeout::Default)).await.unwrap();
    assert_eq!(patient.incr("k", 1).await.unwrap(), 2, "the aborted increment did not count");
}

/// No error contains a value, even if the server's own message quotes it.
#[tokio::test]
async fn error_shows_no_value() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("")).strict();
    cache.check().await.unwrap();
    client
        .batch_execute("ALTER TABLE cache ADD CONSTRAINT c CHECK (octet_length(value) < 5)")
        .await
        .unwrap();
    let error = cache.set("k", &"marked", Timeout::Default).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("23514") && !text.contains("marked"), "{text}");
}

/// Each code of the server is reported with its kind and advice, and reads go on.
#[tokio::test]
async fn server_codes_are_reported_with_kind_and_advice() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &format!("{PATIENT}{NO_BREAKER}")).strict();
    cache.set("k", &1, secs(600)).await.unwrap();
    for (code, kind, what) in [
        ("53000", ErrorKind::Backend, "insufficient resources"),
        ("53100", ErrorKind::Backend, "disk is full"),
        ("53200", ErrorKind::Backend, "out of memory"),
        ("53300", ErrorKind::Unavailable, "too many connections"),
        ("53400", ErrorKind::Backend, "temp_file_limit"),
        ("57000", ErrorKind::Unavailable, "administrator"),
        ("57014", ErrorKind::TimedOut, "statement_timeout"),
        ("57P03", ErrorKind::Unavailable, "starting up"),
        ("58030", ErrorKind::Backend, "system error"),
    ] {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'marked' USING ERRCODE = '{code}'; END $$; \
             CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON cache FOR EACH ROW EXECUTE FUNCTION refuse()"
        );
        client.batch_execute(&sql).await.unwrap();
        let error = cache.set("k", &2, Timeout::Default).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert_eq!(error.kind(), kind, "{code}: {text}");
        assert!(text.contains(what) && !text.contains("marked"), "{code}: {text}");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    }
}

/// Sessions that the server ended because they were idle, or that an administrator ended, are
/// replaced unnoticed.
#[tokio::test]
async fn session_that_the_server_ended_while_idle_is_replaced() {
    let server = Postgres::start().unwrap();
    // Longer than a machine stands still while a session is set up.
    let url = format!("{}?options=-c%20idle_session_timeout%3D4s", server.url());
    let cache = cache(&url, &options("connections = 1")).strict();
    let client = raw(&server).await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cache-db'";
    for ends in [
        "SELECT 1",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cache-db'",
    ] {
        cache.set("k", &1, secs(600)).await.unwrap();
        client.query(ends, &[]).await.unwrap();
        until("the session has ended", async || crate::support::number(&client, ours).await == 0)
            .await;
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    }
}
