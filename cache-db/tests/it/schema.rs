//! Creating, checking and upgrading the table.

use std::path::{Path, PathBuf};

use cache_core::{Error, ErrorKind, Settings, Timeout};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{NO_BREAKER, PATIENT, cache, text, toml};

/// The table that the first version of this crate created.
const FIRST: &str = "CREATE TABLE cache (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, expires INTEGER, \
                     size INTEGER NOT NULL, value BLOB NOT NULL); \
                     CREATE TABLE cache_meta (version INTEGER NOT NULL); \
                     INSERT INTO cache_meta (version) VALUES (1);";

fn at(folder: &TempDir) -> PathBuf {
    folder.path().join("cache.db")
}

fn run(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn ask<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn settings(path: &Path, more: &str) -> Settings {
    cache_core::Settings::from_toml(&toml(&text(path), more)).unwrap()
}

async fn works(path: &Path, more: &str) {
    let cache = cache(&text(path), &format!("{PATIENT}{more}")).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2));
    cache.check().await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
}

async fn refused(path: &Path) -> Error {
    let cache = cache(&text(path), &format!("{PATIENT}{NO_BREAKER}")).strict();
    let error = cache.get::<i32>("k").await.unwrap_err();
    assert_eq!(cache.set("k", &"marked", Timeout::Default).await.unwrap_err().kind(), error.kind());
    assert!(cache.check().await.is_err());
    let said = format!("{error}");
    assert!(said.contains("cache.db") && !said.contains("marked"), "{said}");
    error
}

#[tokio::test]
async fn unusual_table_names_are_used_unchanged() {
    for name in [
        "cache",
        "my cache",
        "a\"b",
        "\"",
        "'",
        "a'b",
        "x\"; DROP TABLE y; --",
        "SELECT",
        "été 🦀",
        "a.b",
        "[a]",
        "%",
        ":key",
        "?1",
        "$x",
        "-- ",
        "/*",
        "a_meta",
        "0",
        " ",
        "CACHE",
        "main",
    ] {
        let folder = tempfile::tempdir().unwrap();
        run(&at(&folder), "CREATE TABLE y (z); INSERT INTO y VALUES (1)");
        let escaped = format!("{name:?}");
        works(&at(&folder), &format!("options = {{ table = {escaped} }}")).await;
        assert_eq!(ask::<i64>(&at(&folder), "SELECT count(*) FROM y"), 1, "{name}");
        let found: i64 = Connection::open(at(&folder))
            .unwrap()
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (?1, ?1 || '_meta')",
                [name],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(found, 2, "{name}");
    }
}

#[tokio::test]
async fn tables_of_one_database_are_independent() {
    let folder = tempfile::tempdir().unwrap();
    let one = cache(&text(&at(&folder)), PATIENT).strict();
    let two = cache(&text(&at(&folder)), &format!("{PATIENT}options = {{ table = 'b' }}")).strict();
    one.set("k", &1, Timeout::Default).await.unwrap();
    two.set("k", &2, Timeout::Default).await.unwrap();
    two.clear_store().await.unwrap();
    assert_eq!(one.get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(two.get::<i32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn first_version_is_upgraded_with_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    run(&at(&folder), FIRST);
    run(
        &at(&folder),
        "INSERT INTO cache (key, size, value) VALUES (':1:a', 50, '1'), (':1:b', 60, CAST('2' AS BLOB))",
    );
    let cache = cache(&text(&at(&folder)), PATIENT).strict();
    assert_eq!(cache.get::<i32>("b").await.unwrap(), Some(2));
    assert_eq!(ask::<i64>(&at(&folder), "SELECT version FROM cache_meta"), 2);
    assert_eq!(ask::<i64>(&at(&folder), "SELECT entries FROM cache_meta"), 2);
    assert_eq!(ask::<i64>(&at(&folder), "SELECT bytes FROM cache_meta"), 110);
    cache.delete("b").await.unwrap();
    assert_eq!(ask::<i64>(&at(&folder), "SELECT bytes FROM cache_meta"), 50);
}

#[tokio::test]
async fn newer_version_is_refused_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    works(&at(&folder), "").await;
    run(&at(&folder), "UPDATE cache_meta SET version = 77");
    let said = refused(&at(&folder)).await.to_string();
    assert!(said.contains("version 77") && said.contains("up to version 2"), "{said}");
    assert_eq!(ask::<i64>(&at(&folder), "SELECT version FROM cache_meta"), 77);
}

#[tokio::test]
async fn foreign_table_is_refused_and_left_unchanged() {
    for sql in [
        "CREATE TABLE cache (a)",
        "CREATE TABLE cache_meta (a)",
        "CREATE TABLE cache (a); CREATE TABLE cache_meta (a)",
        "CREATE TABLE cache (a); CREATE TABLE cache_meta (version)",
        "CREATE TABLE cache (a); CREATE TABLE cache_meta (version); INSERT INTO cache_meta VALUES ('x')",
        "CREATE TABLE cache (a); CREATE TABLE cache_meta (version); INSERT INTO cache_meta VALUES (0)",
        "CREATE TABLE cache (a); CREATE TABLE cache_meta (version); INSERT INTO cache_meta VALUES (-1)",
        "CREATE VIEW cache AS SELECT 1",
        "CREATE TABLE Cache (a)",
        // The table of Django.
        "CREATE TABLE cache (cache_key, value, expires)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        run(&at(&folder), sql);
        let before: String = ask(&at(&folder), "SELECT group_concat(sql) FROM sqlite_master");
        let error = refused(&at(&folder)).await;
        assert_eq!(error.kind(), ErrorKind::Backend);
        let said = error.to_string();
        assert!(
            said.contains("another program") && said.contains("options.table"),
            "{sql}: {said}"
        );
        let after: String = ask(&at(&folder), "SELECT group_concat(sql) FROM sqlite_master");
        assert_eq!(before, after, "{sql}");
    }
}

/// The meta table says that the table is ours, but its columns differ: an error, not a panic.
#[tokio::test]
async fn table_with_other_columns_is_an_error() {
    for version in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        run(&at(&folder), "CREATE TABLE cache (a); CREATE TABLE cache_meta (version)");
        run(&at(&folder), &format!("INSERT INTO cache_meta VALUES ({version})"));
        assert_eq!(refused(&at(&folder)).await.kind(), ErrorKind::Backend);
    }
}

#[tokio::test]
async fn database_with_another_encoding_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(&at(&folder), "PRAGMA encoding = 'UTF-16'; CREATE TABLE other (a)");
    assert!(refused(&at(&folder)).await.to_string().contains("UTF-16"));
}

#[tokio::test]
async fn file_that_is_not_a_database_is_refused_and_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(at(&folder), "marked: not a database, but a text of some length".repeat(99))
        .unwrap();
    let before = std::fs::read(at(&folder)).unwrap();
    assert!(refused(&at(&folder)).await.to_string().contains("not a SQLite database"));
    assert_eq!(std::fs::read(at(&folder)).unwrap(), before);
}

/// Not even root can write there.
#[tokio::test]
async fn unusable_path_is_an_error_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    std::fs::create_dir(folder.path().join("cache.db")).unwrap();
    for place in ["absent/cache.db", "file/cache.db", "cache.db"] {
        let error = refused(&folder.path().join(place)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}");
        assert!(error.to_string().contains("cannot open"), "{error}");
    }
}

#[tokio::test]
async fn tables_can_be_created_beforehand_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&at(&folder), "options = { table = 'my \"cache' }");
    for _ in 0..2 {
        cache_db::create_tables(&settings).await.unwrap();
        assert_eq!(ask::<i64>(&at(&folder), "SELECT count(*) FROM \"my \"\"cache\""), 0);
        run(&at(&folder), "DELETE FROM \"my \"\"cache\"");
    }
    works(&at(&folder), "options = { table = 'my \"cache' }").await;
}

#[tokio::test]
async fn failed_creation_names_the_alias() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder.path().join("absent").join("cache.db"), "");
    let error = cache_db::create_tables(&settings).await.unwrap_err();
    assert!(error.to_string().contains("default"), "{error}");
}

#[tokio::test]
async fn displayed_sql_creates_the_same_tables() {
    for more in ["", "options = { table = 'x\"; DROP TABLE y; --' }"] {
        let folder = tempfile::tempdir().unwrap();
        let sql = cache_db::create_tables_sql(&settings(&at(&folder), more)).unwrap();
        assert!(!at(&folder).exists(), "it is a dry run");
        run(&at(&folder), &sql);
        let schema = "SELECT group_concat(sql) FROM sqlite_master";
        let by_hand: String = ask(&at(&folder), schema);
        works(&at(&folder), more).await;
        assert_eq!(ask::<String>(&at(&folder), schema), by_hand);
        let other = tempfile::tempdir().unwrap();
        works(&at(&other), more).await;
        assert_eq!(ask::<String>(&at(&other), schema), by_hand);
    }
}

/// Changes by other programs that do no harm.
#[tokio::test]
async fn tables_with_additional_columns_are_used() {
    for sql in [
        "ALTER TABLE cache ADD COLUMN note TEXT",
        "ALTER TABLE cache ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE cache_meta ADD COLUMN note TEXT",
        "CREATE INDEX cache_expires ON cache (expires)",
        "CREATE VIEW live AS SELECT * FROM cache",
        "CREATE TABLE other (a); CREATE TRIGGER mine AFTER INSERT ON other BEGIN SELECT 1; END",
        "DROP TRIGGER cache_changed",
        "DROP TABLE cache",
        "DROP TABLE cache_meta",
    ] {
        let folder = tempfile::tempdir().unwrap();
        works(&at(&folder), "").await;
        run(&at(&folder), sql);
        works(&at(&folder), "").await;
        let right = "SELECT (entries, bytes) = (SELECT count(*), coalesce(sum(size), 0) FROM cache) FROM cache_meta";
        let cache = cache(&text(&at(&folder)), PATIENT).strict();
        cache.set("k", &"x".repeat(1000), Timeout::Default).await.unwrap();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert!(ask::<bool>(&at(&folder), right), "{sql}");
    }
}

#[tokio::test]
async fn columns_with_another_name_or_type_are_refused() {
    for sql in [
        "ALTER TABLE cache RENAME COLUMN value TO content",
        "ALTER TABLE cache RENAME COLUMN expires TO until",
        "ALTER TABLE cache_meta RENAME COLUMN bytes TO size",
        "DROP TABLE cache; CREATE TABLE cache (id INTEGER PRIMARY KEY, key TEXT NOT NULL, expires INTEGER, size INTEGER, value BLOB)",
        "DROP TABLE cache; CREATE TABLE cache (id INTEGER, key TEXT UNIQUE, expires INTEGER, size INTEGER, value BLOB)",
        "DROP TABLE cache; CREATE TABLE cache (id INTEGER PRIMARY KEY, key INTEGER UNIQUE, expires INTEGER, size INTEGER, value BLOB)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        works(&at(&folder), "").await;
        run(&at(&folder), sql);
        let error = refused(&at(&folder)).await;
        assert_eq!(error.kind(), ErrorKind::Backend, "{sql}: {error}");
        assert!(error.to_string().contains("another program"), "{sql}: {error}");
    }
}
