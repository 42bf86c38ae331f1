//! Rows of other programs, with types that the store never writes.

use cache_core::{ErrorKind, Timeout, secs};
use rusqlite::Connection;

use crate::support::{NO_BREAKER, PATIENT, cache, text};

/// The value and the expiry in SQL. `None` means a live entry with a value of this store.
const VALUES: [&str; 4] = ["42", "1.5", "'text'", "'7'"];
const EXPIRIES: [&str; 4] = ["'never'", "1e15", "4102444800000.5", "x'00'"];

#[tokio::test]
async fn values_of_other_types_are_misses_and_not_integers() {
    for value in VALUES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let open = cache(&text(&path), &format!("{PATIENT}{NO_BREAKER}"));
        let strict = open.strict();
        strict.set("mine", &1, Timeout::Default).await.unwrap();
        let plant = || {
            let sql = format!(
                "INSERT OR REPLACE INTO cache (key, size, value) VALUES (':1:k', 50, {value})"
            );
            Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        };
        plant();
        for res in [strict.incr("k", 1).await, strict.incr_or("k", 1, 0, Timeout::Default).await] {
            assert_eq!(res.unwrap_err().kind(), ErrorKind::NotAnInteger, "{value}");
        }
        assert_eq!(
            strict.get::<i32>("k").await.unwrap_err().kind(),
            ErrorKind::WrongType,
            "{value}"
        );
        assert!(strict.has_key("k").await.unwrap());
        assert!(strict.ttl("k").await.unwrap().is_some());
        assert!(strict.touch("k", secs(60)).await.unwrap());
        let found = open.get_many::<i32, _>(["k", "mine"]).await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("mine", 1)], "{value}");
        plant();
        assert_eq!(open.get::<i32>("k").await.unwrap(), None);
        plant();
        assert_eq!(open.get_or_set("k", Timeout::Default, async || 5).await.unwrap(), 5, "{value}");
        plant();
        assert_eq!(strict.pop::<i32>("k").await.unwrap_err().kind(), ErrorKind::WrongType);
        assert!(!strict.has_key("k").await.unwrap());
        plant();
        assert!(strict.delete("k").await.unwrap());
        plant();
        assert!(strict.replace("k", &1, Timeout::Default).await.unwrap());
        assert_eq!(strict.incr("k", 1).await.unwrap(), 2);
        strict.clear().await.unwrap();
    }
}

#[tokio::test]
async fn expiries_and_sizes_of_other_types_fail_no_call() {
    for expires in EXPIRIES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let more = format!("{PATIENT}{NO_BREAKER}[caches.default.options]\nmax_entries = 20\n");
        let cache = cache(&text(&path), &more).strict();
        cache.set("mine", &1, Timeout::Default).await.unwrap();
        let sql = format!(
            "INSERT INTO cache (key, expires, size, value) VALUES (':1:k', {expires}, 1.5, CAST('1' AS BLOB))"
        );
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "{expires}");
        assert!(cache.has_key("k").await.unwrap() && cache.ttl("k").await.unwrap().is_some());
        assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
        assert_eq!(cache.update("k", Timeout::Default, |it: i32| it + 1).await.unwrap(), Some(3));
        cache.check().await.unwrap();
        for n in 0..200 {
            cache.set(&n.to_string(), &n, Timeout::Default).await.unwrap();
        }
        let count = || -> i64 {
            let db = Connection::open(&path).unwrap();
            db.query_row("SELECT count(*) FROM cache", [], |row| row.get(0)).unwrap()
        };
        crate::support::until("there is room", async || count() <= 20).await;
    }
}
