//! The bounds of the table, and that no call waits for eviction.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    store::{Backend, CounterInit, Expected, Expiry, Namespace, SetMode, TtlUpdate},
    testing::FakeClock,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{PATIENT, store, store_by, text, until};

/// The size of an entry besides its value and twice its key.
const OVERHEAD: usize = 40;
const NEVER: Expiry = Expiry::Never;

fn at(folder: &TempDir) -> PathBuf {
    folder.path().join("cache.db")
}

fn options(more: &str) -> String {
    format!("{PATIENT}[caches.default.options]\n{more}\n")
}

/// Entries and bytes, counted by another connection and by the triggers.
fn counted(path: &Path) -> ((i64, i64), (i64, i64)) {
    let db = Connection::open(path).unwrap();
    let ask = |sql| db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    db.execute_batch("BEGIN").unwrap();
    let counted = ask("SELECT count(*), coalesce(sum(size), 0) FROM cache");
    (counted, ask("SELECT entries, bytes FROM cache_meta"))
}

fn entries(path: &Path) -> i64 {
    counted(path).0.0
}

async fn set(store: &Arc<dyn Backend>, key: &str, len: usize) {
    store.set(key, Bytes::from(vec![b'x'; len]), NEVER, SetMode::Always).await.unwrap();
}

fn key(i: usize) -> String {
    format!("k{i}")
}

/// Waits until the table is at its bound: not over it, and at most a tenth under it.
async fn ends_at(path: &Path, ask: fn(&Path) -> i64, bound: i64, largest: i64) {
    until("it is within its bound", async || ask(path) <= bound).await;
    let rest = ask(path);
    assert!(rest + largest >= bound - bound / 10, "{rest} of {bound} are left");
    let (counted, kept) = counted(path);
    assert_eq!(counted, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_is_at_its_bound_after_ten_times_its_entries() {
    for batch in [1, 100, 2000] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&text(&at(&folder)), &options("max_entries = 1000"));
        let keys: Vec<_> = (0..10_000).map(key).collect();
        for some in keys.chunks(batch) {
            let items: Vec<_> = some.iter().map(|it| (it.as_str(), Bytes::from("x"))).collect();
            match &items[..] {
                [(key, _)] => set(&store, key, 1).await,
                _ => assert!(store.set_many(&items, NEVER).await.iter().all(Result::is_ok)),
            }
        }
        ends_at(&at(&folder), entries, 1000, 0).await;
        // The latest entries are left.
        for i in 9500..10_000 {
            assert!(store.has(&key(i)).await.unwrap(), "{i}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_is_at_its_bound_after_ten_times_its_bytes() {
    for lens in [&[100][..], &[10, 10, 10, 50_000], &[20_000]] {
        let folder = tempfile::tempdir().unwrap();
        let stores: Vec<_> =
            (0..2).map(|_| store(&text(&at(&folder)), &options("max_bytes = \"1MiB\""))).collect();
        let (mut written, mut i) = (0, 0);
        while written < 10 << 20 {
            let len = lens[i % lens.len()];
            set(&stores[i % 2], &key(i), len).await;
            written += len + 2 * key(i).len() + OVERHEAD;
            i += 1;
        }
        let largest = i64::try_from(*lens.iter().max().unwrap()).unwrap();
        ends_at(&at(&folder), |it| counted(it).0.1, 1 << 20, 2 * largest).await;
    }
}

/// The oldest entries are larger than the later ones, so few of them are enough.
#[tokio::test]
async fn eviction_counts_bytes_of_large_values_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&text(&at(&folder)), &options("max_bytes = \"1MiB\""));
    let lens = [100_000; 8].into_iter().chain(std::iter::repeat_n(50, 4000));
    for (i, len) in lens.enumerate() {
        set(&store, &key(i), len).await;
    }
    ends_at(&at(&folder), |it| counted(it).0.1, 1 << 20, 100_000).await;
}

/// Large values must not pile up until the threshold of writes is reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_large_values_are_evicted_soon() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&text(&at(&folder)), &options("max_bytes = \"4MiB\""));
    let mut most = 0;
    for i in 0..60 {
        set(&store, &key(i), 1 << 20).await;
        tokio::task::yield_now().await;
        most = most.max(counted(&at(&folder)).1.1);
    }
    assert!(most < 24 << 20, "{most} bytes in a table of 4 MiB");
    ends_at(&at(&folder), |it| counted(it).0.1, 4 << 20, 2 << 20).await;
}

#[tokio::test]
async fn bound_of_ten_entries_holds() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&text(&at(&folder)), &options("max_entries = 10"));
    for i in 0..100 {
        set(&store, &key(i), 1).await;
    }
    ends_at(&at(&folder), entries, 10, 0).await;
    for i in 90..100 {
        assert!(store.has(&key(i)).await.unwrap(), "{i}");
    }
}

#[tokio::test]
async fn oldest_entry_is_evicted_whatever_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&text(&at(&folder)), &options("max_entries = 100"));
    let keys: Vec<_> = (0..400).rev().map(|i| format!("k{i:03}")).collect();
    for key in &keys {
        set(&store, key, 1).await;
    }
    until("it is within its bound", async || entries(&at(&folder)) <= 100).await;
    for (i, key) in keys.iter().rev().enumerate() {
        assert_eq!(store.has(key).await.unwrap(), i < 100, "{key}");
    }
}

/// The maintenance thread evicts them, however slow it is: after fewer writes than a quarter of the
/// bound, the writes themselves do not evict the oldest.
#[tokio::test]
async fn expired_entries_are_evicted_before_live_ones() {
    let folder = tempfile::tempdir().unwrap();
    let time = FakeClock::new();
    let expiry = |i: usize| match i {
        0..1000 => NEVER,
        _ => Expiry::After(Duration::from_secs(1)),
    };
    let filler = store_by(&time.clock(), &text(&at(&folder)), &options(""));
    for i in 0..1900 {
        let value = Bytes::from("x");
        filler.set(&key(i), value, expiry(i), SetMode::Always).await.unwrap();
    }
    drop(filler);
    time.advance(Duration::from_secs(2));
    let store = store_by(&time.clock(), &text(&at(&folder)), &options("max_entries = 2000"));
    for i in 2000..2450 {
        set(&store, &key(i), 1).await;
    }
    until("it is within its bound", async || entries(&at(&folder)) <= 2000).await;
    for i in (0..1000).chain(2000..2450) {
        assert!(store.has(&key(i)).await.unwrap(), "{i} lives, and is not too much");
    }
}

/// Also under load, when writes leave no idle moment.
#[tokio::test]
async fn expired_entries_are_removed_with_and_without_calls() {
    for is_idle in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let time = FakeClock::new();
        let store = store_by(&time.clock(), &text(&at(&folder)), &options(""));
        let expiry = Expiry::After(Duration::from_secs(1));
        for i in 0..3000 {
            store.set(&key(i), Bytes::from("x"), expiry, SetMode::Always).await.unwrap();
        }
        time.advance(Duration::from_secs(2));
        until("all were removed", async || {
            if !is_idle {
                for _ in 0..500 {
                    set(&store, "k", 1).await;
                }
            }
            entries(&at(&folder)) <= 1
        })
        .await;
    }
}

#[tokio::test]
async fn idle_table_shrinks_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let large = store(&text(&at(&folder)), &options(""));
    let items: Vec<_> = (0..3000).map(|i| (key(i), Bytes::from("x"))).collect();
    let items: Vec<_> = items.iter().map(|it| (it.0.as_str(), it.1.clone())).collect();
    assert!(large.set_many(&items, NEVER).await.iter().all(Result::is_ok));
    let small = store(&text(&at(&folder)), &options("max_entries = 1000"));
    set(&small, "k", 1).await;
    ends_at(&at(&folder), entries, 1000, 0).await;
}

/// A huge trim has small steps, and writes run between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_waits_for_a_huge_trim() {
    // Again if this task stands still while the table shrinks.
    until("writes come between", async || writes_between_a_huge_trim().await > 5).await;
}

/// Returns how many writes came between two different sizes of a table that shrinks.
async fn writes_between_a_huge_trim() -> usize {
    const ENTRIES: usize = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let large = store(&text(&at(&folder)), &options(""));
    let items: Vec<_> = (0..ENTRIES).map(|i| (key(i), Bytes::from(vec![b'x'; 100]))).collect();
    let items: Vec<_> = items.iter().map(|it| (it.0.as_str(), it.1.clone())).collect();
    assert!(large.set_many(&items, NEVER).await.iter().all(Result::is_ok));
    let small = store(&text(&at(&folder)), &options("max_entries = 1000"));
    let (mut between, mut last) = (0, entries(&at(&folder)));
    let mut i = 0;
    while last > 1000 {
        set(&small, "k", 1 + i % 7).await;
        i += 1;
        let now = entries(&at(&folder));
        between += usize::from(now < last && now > 1000);
        last = now;
        assert!(i < 200_000, "the trim does not come to its turn: {last} are left");
    }
    between
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Runs one of all operations, whatever it returns.
async fn any(store: &Arc<dyn Backend>, time: &FakeClock, dice: &mut Dice) {
    let key = |dice: &mut Dice| format!(":1:k{}", dice.roll(40));
    let (one, other) = (key(dice), key(dice));
    let value = Bytes::from(vec![b'1'; usize::try_from(dice.roll(20)).unwrap()]);
    let expiry = match dice.roll(2) {
        0 => NEVER,
        _ => Expiry::After(Duration::from_millis(1 + dice.roll(100))),
    };
    let seen = store.get_entry(&one).await.unwrap();
    match dice.roll(16) {
        0 => drop(store.set(&one, value, expiry, SetMode::Always).await.unwrap()),
        1 => drop(store.set(&one, value, expiry, SetMode::IfAbsent).await.unwrap()),
        2 => drop(store.set(&one, value, expiry, SetMode::IfPresent).await.unwrap()),
        3 | 4 => drop(store.set_many(&[(&one, value.clone()), ("x", value)], expiry).await),
        5 => drop(store.touch(&one, expiry).await.unwrap()),
        6 => drop(store.delete(&one).await.unwrap()),
        7 => drop(store.delete_many(&[&one, "absent"]).await),
        8 => drop(store.take(&one).await.unwrap()),
        9 => drop(store.incr(&one, 7, None).await),
        10 => drop(store.incr(&one, 7, Some(CounterInit::new(5, expiry))).await),
        11 if one != other => drop(store.rename(&one, &other).await.unwrap()),
        12 => {
            if let Some(it) = &seen {
                store.compare_and_delete(&one, Expected::entry(it)).await.unwrap();
            }
        }
        13 => {
            if let Some(it) = &seen {
                let lifetime = TtlUpdate::New(expiry);
                store.compare_and_set(&one, Expected::entry(it), value, lifetime).await.unwrap();
            }
        }
        14 => time.advance(Duration::from_millis(20)),
        _ if dice.roll(40) == 0 => store.clear(&Namespace::new("").unwrap()).await.unwrap(),
        _ => {}
    }
}

#[tokio::test]
async fn counters_are_correct_after_random_operations() {
    for seed in 1..4 {
        let folder = tempfile::tempdir().unwrap();
        let time = FakeClock::new();
        let store = store_by(&time.clock(), &text(&at(&folder)), &options("max_entries = 30"));
        let mut dice = Dice(seed << 40 | 0x9e37_79b9);
        for _ in 0..2000 {
            any(&store, &time, &mut dice).await;
        }
        let (counted, kept) = counted(&at(&folder));
        assert_eq!(counted, kept);
        store.clear_store().await.unwrap();
        assert_eq!(self::counted(&at(&folder)), ((0, 0), (0, 0)));
    }
}
