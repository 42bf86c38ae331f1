//! Many rows.

use bytes::Bytes;
use cache_core::store::{Expiry, SetMode};
use rusqlite::Connection;

use crate::support::{PATIENT, store, text};

/// Without optimisation, a million rows would take a minute and show nothing more.
const ROWS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_table_works_and_counts_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let store = store(&text(&path), PATIENT);
    let keys: Vec<_> = (0..ROWS).map(|i| format!(":1:key{i}")).collect();
    for some in keys.chunks(5000) {
        let items: Vec<_> = some.iter().map(|it| (it.as_str(), Bytes::from("1"))).collect();
        assert!(store.set_many(&items, Expiry::Never).await.iter().all(Result::is_ok));
    }
    for i in (0..ROWS).step_by(ROWS / 100) {
        assert_eq!(store.incr(&keys[i], 1, None).await.unwrap(), Some(2));
        assert_eq!(store.get(&keys[i]).await.unwrap().unwrap(), "2");
        let value = Bytes::from("new");
        store.set(&format!(":1:new{i}"), value, Expiry::Never, SetMode::Always).await.unwrap();
        assert!(store.delete(&keys[i]).await.unwrap());
    }
    let db = Connection::open(&path).unwrap();
    let right = "SELECT (entries, bytes) = (SELECT count(*), sum(size) FROM cache) FROM cache_meta";
    assert!(db.query_row(right, [], |row| row.get::<_, bool>(0)).unwrap());
    let log = std::fs::metadata(folder.path().join("cache.db-wal")).unwrap().len();
    assert!(log <= 128 << 20, "the log has {log} bytes");
    store.clear_store().await.unwrap();
    assert_eq!(store.get(&keys[1]).await.unwrap(), None);
}
