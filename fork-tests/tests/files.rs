//! Stores in files, in a child of `fork`: the child has its own locks and connections, and no
//! increment is lost.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::{mem, path::Path};

use cache_core::{BlockingCache, Caches, ErrorKind, Timeout, secs};
use cache_db as _;
use cache_file as _;
use fork_tests::{alone, in_child};

const COUNT: i64 = 100;

fn cache(backend: &str, path: &Path) -> BlockingCache {
    let text = format!(
        "[caches.default]\nbackend = '{backend}'\nlocation = '{}'\ndeadline = '20s'\nbreaker.enabled = false\n",
        path.display()
    );
    Caches::from_toml(&text).unwrap().get("default").unwrap().strict().blocking()
}

fn count(cache: &BlockingCache) {
    for _ in 0..COUNT {
        cache.incr_or("n", 1, 0, Timeout::Default).unwrap();
    }
}

#[test]
fn child_and_parent_lose_no_increment_in_a_directory() {
    alone(None, || {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache("file", &folder.path().join("cache"));
        count(&cache);
        in_child("file", || count(&cache), || count(&cache));
        assert_eq!(cache.get::<i64>("n").unwrap(), Some(3 * COUNT));
    });
}

/// A child inherits the random numbers of its parent's thread. With equal tokens, one would release
/// the lock of the other.
#[test]
fn locks_of_child_and_parent_have_different_tokens() {
    alone(None, || {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache("file", &folder.path().join("cache"));
        let lock = |name| mem::forget(cache.try_lock(name, secs(600)).unwrap().unwrap());
        in_child("locks", || lock("child"), || lock("parent"));
        let store = cache.clone().into_async().backend().clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = |key| runtime.block_on(store.get(key)).unwrap().unwrap();
        assert_ne!(token(":lock:own:1:child"), token(":lock:own:1:parent"));
    });
}

#[test]
fn child_and_parent_lose_no_increment_in_sqlite_that_was_closed_before_the_fork() {
    alone(None, || {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache("db", &folder.path().join("cache.db"));
        in_child("before the first call", || count(&cache), || count(&cache));
        cache.close().unwrap();
        in_child("after close()", || count(&cache), || count(&cache));
        assert_eq!(cache.get::<i64>("n").unwrap(), Some(4 * COUNT));
    });
}

#[test]
fn sqlite_file_that_was_open_at_the_fork_is_an_error_in_the_child_and_works_in_the_parent() {
    alone(None, || {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("cache.db"), folder.path().join("other.db"));
        let open = cache("db", &one);
        count(&open);
        let refused = |it: &BlockingCache| {
            let error = it.incr("n", 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("close() before the fork"), "{error}");
        };
        let work = || {
            refused(&open);
            // Caches that the child builds use the inherited memory of SQLite, too.
            refused(&cache("db", &one));
            refused(&cache("db", &other));
        };
        in_child("open", work, || count(&open));
        assert_eq!(open.get::<i64>("n").unwrap(), Some(2 * COUNT));
    });
}
