//! Creating, finding and refusing the table.

use cache_core::{ErrorKind, Timeout, secs};
use futures_util::future::join_all;
use test_servers::Postgres;

use crate::support::{PATIENT, cache, number, options, raw, url};

#[tokio::test]
async fn unusual_table_names_work() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    client.batch_execute("CREATE TABLE victim (x int)").await.unwrap();
    for name in [
        "my cache",
        "select",
        r#"a"b"#,
        "it's",
        r#"x"; DROP TABLE victim; --"#,
        "'); DROP TABLE victim; --",
        "Über%s$1",
        "1234567890123456789012345678901234567890",
    ] {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        let cache = cache(&server.url(), &options(&format!("table = \"{quoted}\""))).strict();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.incr("k", 1).await.unwrap(), 2, "{name}");
        assert_eq!(cache.get_many::<i32, _>(["k"]).await.unwrap().len(), 1);
        let sql = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        assert_eq!(number(&client, &sql).await, 1, "{name}");
        cache.clear_store().await.unwrap();
        assert_eq!(number(&client, &sql).await, 0, "{name}");
    }
    assert_eq!(number(&client, "SELECT count(*) FROM victim").await, 0);
}

#[tokio::test]
async fn foreign_table_is_refused_and_left_unchanged() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let ours = "key bytea, expires bigint, size int, value bytea";
    for sql in [
        "CREATE TABLE cache (cache_key varchar(255) PRIMARY KEY, value text, expires timestamptz)".to_owned(),
        // A table that looks like ours, but without our mark.
        format!("CREATE TABLE cache (id bigint, {ours})"),
        "CREATE TABLE cache_meta (x int)".to_owned(),
        "CREATE TABLE cache_meta (name text, value bigint)".to_owned(),
        "CREATE TABLE cache_meta (name text, value bigint); INSERT INTO cache_meta VALUES ('schema', 1); \
         CREATE TABLE cache (id bigint, key text)"
            .to_owned(),
    ] {
        client.batch_execute(&sql).await.unwrap();
        let cache = cache(&server.url(), PATIENT).strict();
        let error = cache.set("k", &1, Timeout::Default).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.to_string().contains("belongs to another program; set another"), "{error}");
        assert!(cache.check().await.is_err());
        let drop = "DROP TABLE IF EXISTS cache; DROP TABLE IF EXISTS cache_meta";
        client.batch_execute(drop).await.unwrap();
    }
}

#[tokio::test]
async fn newer_schema_is_refused_and_both_versions_are_named() {
    let server = Postgres::start().unwrap();
    let (client, first) = (raw(&server).await, cache(&server.url(), PATIENT).strict());
    first.set("k", &1, Timeout::Default).await.unwrap();
    client.batch_execute("UPDATE cache_meta SET value = 7 WHERE name = 'schema'").await.unwrap();
    let later = cache(&server.url(), PATIENT).strict();
    let error = later.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    let text = error.to_string();
    assert!(text.contains("version 7") && text.contains("up to version 1"), "{text}");
    // Failing open, it is an empty cache.
    assert_eq!(cache(&server.url(), PATIENT).get::<i32>("k").await.unwrap(), None);
    client.batch_execute("UPDATE cache_meta SET value = 1 WHERE name = 'schema'").await.unwrap();
    assert_eq!(first.get::<i32>("k").await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_several_starting_caches_creates_the_table() {
    let server = Postgres::start().unwrap();
    for round in 0..5 {
        let start = |i: i32| {
            let cache = cache(&server.url(), &options(&format!("table = \"t{round}\""))).strict();
            tokio::spawn(async move { cache.set(&format!("k{i}"), &i, Timeout::Default).await })
        };
        for it in join_all((0..16).map(start)).await {
            it.unwrap().unwrap();
        }
        let sql = format!("SELECT count(*) FROM t{round}");
        assert_eq!(number(&raw(&server).await, &sql).await, 16);
    }
}

#[tokio::test]
async fn role_without_create_uses_an_existing_table() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let roles = "CREATE ROLE app LOGIN; REVOKE CREATE ON SCHEMA public FROM public";
    client.batch_execute(roles).await.unwrap();
    let url = url(&server, "app", "postgres");
    let error = cache(&url, PATIENT).strict().set("k", &1, Timeout::Default).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    assert!(error.to_string().contains("create the table beforehand or GRANT CREATE"), "{error}");

    cache(&server.url(), PATIENT).check().await.unwrap();
    let error = cache(&url, PATIENT).strict().set("k", &1, Timeout::Default).await.unwrap_err();
    assert!(error.to_string().contains("GRANT SELECT, INSERT, UPDATE, DELETE"), "{error}");
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON cache, cache_meta TO app";
    client.batch_execute(grant).await.unwrap();
    let cache = cache(&url, &options("max_entries = 10")).strict();
    for i in 0..200 {
        cache.set(&format!("k{i}"), &i, secs(60)).await.unwrap();
    }
    cache.delete("k0").await.unwrap();
    assert_eq!(cache.incr_or("n", 1, 0, secs(60)).await.unwrap(), 1);
    crate::support::until("it trims, too", async || {
        number(&client, "SELECT count(*) FROM cache").await <= 10
    })
    .await;
    cache.clear().await.unwrap();
    cache.clear_store().await.unwrap();
    cache.check().await.unwrap();
}

#[tokio::test]
async fn table_is_unlogged_only_if_configured() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    for (unlogged, kind) in [(true, "u"), (false, "p")] {
        let more = options(&format!("unlogged = {unlogged}\ntable = \"{kind}\""));
        cache(&server.url(), &more).strict().set("k", &1, Timeout::Default).await.unwrap();
        let sql = "SELECT relpersistence::text FROM pg_class WHERE relname = $1";
        let found: String = client.query_one(sql, &[&kind]).await.unwrap().get(0);
        assert_eq!(found, kind);
    }
}

/// An administrator drops the table or restores a backup.
#[tokio::test]
async fn dropped_table_is_created_again() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("connections = 3")).strict();
    for round in 0..3 {
        for i in 0..10 {
            cache.set(&format!("k{i}"), &round, Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<i32>(&format!("k{i}")).await.unwrap(), Some(round));
        }
        client.batch_execute("DROP TABLE cache; DROP TABLE cache_meta").await.unwrap();
    }
}

/// Like the server behind a pooler that gives each transaction another session, or a session in
/// which the table was changed.
#[tokio::test]
async fn statements_are_prepared_again_for_another_table() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    cache.set("k", &1, secs(60)).await.unwrap();
    assert!(cache.ttl("k").await.unwrap().is_some());
    // The server refuses a statement whose columns have changed until it is prepared again.
    client
        .batch_execute(
            "ALTER TABLE cache RENAME COLUMN expires TO e; ALTER TABLE cache ADD expires text",
        )
        .await
        .unwrap();
    let error = cache.ttl("k").await.unwrap_err();
    assert!(error.to_string().contains("belongs to another program"), "{error}");
    client
        .batch_execute(
            "ALTER TABLE cache DROP expires; ALTER TABLE cache RENAME COLUMN e TO expires",
        )
        .await
        .unwrap();
    crate::support::until("it is found again", async || cache.ttl("k").await.is_ok()).await;
}

/// Django's `createcachetable` and its dry run: the store accepts what either creates.
#[tokio::test]
async fn tables_can_be_created_beforehand_by_call_or_by_sql() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let settings = |table: &str| {
        let more = format!("options = {{ table = \"{table}\", unlogged = true }}");
        cache_core::Settings::from_toml(&crate::support::toml(&server.url(), &more)).unwrap()
    };
    cache_db::create_tables(&settings("by a call")).await.unwrap();
    cache_db::create_tables(&settings("by a call")).await.unwrap();
    let sql = cache_db::create_tables_sql(&settings("by sql")).unwrap();
    client.batch_execute(&sql).await.unwrap();
    client.batch_execute("CREATE ROLE poor LOGIN").await.unwrap();
    for table in ["by a call", "by sql"] {
        let rights = format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON \"{table}\", \"{table}_meta\" TO poor"
        );
        client.batch_execute(&rights).await.unwrap();
        let url = url(&server, "poor", "postgres");
        let cache = cache(&url, &options(&format!("table = \"{table}\""))).strict();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.incr("k", 1).await.unwrap(), 2, "{table}");
    }
    let nobody = crate::support::toml("postgres://poor@127.0.0.1:1/d", "");
    let nobody = cache_core::Settings::from_toml(&nobody).unwrap();
    let error = cache_db::create_tables(&nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// The book promises that it is created again, also if its meta table was left.
#[tokio::test]
async fn table_dropped_without_its_meta_table_is_created_again() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("connections = 2")).strict();
    for round in 0..3 {
        for i in 0..10 {
            cache.set(&format!("k{i}"), &round, Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<i32>(&format!("k{i}")).await.unwrap(), Some(round));
        }
        client.batch_execute("DROP TABLE cache").await.unwrap();
    }
}

/// Columns of other programs do not matter, nor how settings of the role print the catalogue.
#[tokio::test]
async fn additional_columns_and_role_settings_are_tolerated() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let first = cache(&server.url(), &options("connections = 1")).strict();
    first.set("k", &1, secs(600)).await.unwrap();
    client
        .batch_execute(
            "ALTER TABLE cache ADD note text, ADD seen timestamptz NOT NULL DEFAULT now(); \
             ALTER TABLE cache_meta ADD note text; CREATE INDEX ON cache (note); \
             CREATE ROLE odd LOGIN SUPERUSER; ALTER ROLE odd SET quote_all_identifiers = on; \
             ALTER ROLE odd SET search_path = '\"$user\"', public, pg_catalog; \
             ALTER ROLE odd SET DateStyle = 'German'; ALTER ROLE odd SET bytea_output = 'escape'; \
             ALTER ROLE odd SET default_transaction_isolation = 'serializable'",
        )
        .await
        .unwrap();
    for url in [server.url(), url(&server, "odd", "postgres")] {
        let cache = cache(&url, &options("connections = 1")).strict();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        cache.set("k", &1, secs(600)).await.unwrap();
        cache.set("other", &1, secs(600)).await.unwrap();
        cache.check().await.unwrap();
    }
    first.close().await.unwrap();
    assert_eq!(first.get::<i32>("k").await.unwrap(), Some(1), "after a reconnect");
    // A column that each insert must fill is refused.
    client
        .batch_execute("DELETE FROM cache; ALTER TABLE cache ADD must text NOT NULL")
        .await
        .unwrap();
    let error =
        cache(&server.url(), PATIENT).strict().set("k", &1, Timeout::Default).await.unwrap_err();
    assert!(error.to_string().contains("belongs to another program"), "{error}");
    client
        .batch_execute("ALTER TABLE cache DROP must, DROP CONSTRAINT cache_key_key")
        .await
        .unwrap();
    let error =
        cache(&server.url(), PATIENT).strict().set("k", &1, Timeout::Default).await.unwrap_err();
    assert!(error.to_string().contains("belongs to another program"), "{error}");
}
