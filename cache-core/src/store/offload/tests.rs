//! Reads that do not block, on the caller's thread.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    task::{Context, Waker},
};

use super::*;
use crate::testing::Model;

/// Keys that begin with `disk` would block.
impl NowaitReads for Model {
    fn get_entry_nowait(&self, key: &str, max_len: usize) -> Result<Option<Entry>, WouldBlock> {
        let entry = self.get_entry(key).map_err(|_| WouldBlock)?;
        let is_short = entry.as_ref().is_none_or(|it| it.value.len() <= max_len);
        if is_short && !key.starts_with("disk") { Ok(entry) } else { Err(WouldBlock) }
    }

    fn ttl_nowait(&self, key: &str) -> Result<Option<Ttl>, WouldBlock> {
        Ok(self.get_entry_nowait(key, usize::MAX)?.map(|it| it.ttl))
    }
}

/// Returns a store with values of this length, which begin with their keys.
fn store(keys: &[&str], len: usize) -> Offload<Model> {
    let model = Model::default();
    for key in keys {
        let value = format!("{key}{}", " ".repeat(len - key.len()));
        model.set(key, value.into(), Expiry::Never, SetMode::Always).unwrap();
    }
    Offload::new(model, 1).nowait_reads()
}

/// Occupies the only thread of a store until the result is dropped.
fn occupy(store: &Offload<Model>) -> (Sender<()>, impl Future<Output = Result<bool>>) {
    let (sender, receiver) = channel();
    let mut call = Box::pin(store.threads.run(move || receiver.recv().is_ok()));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    (sender, call)
}

/// Returns whether a read finishes without the store's thread, which is occupied.
fn is_at_once<T>(read: impl Future<Output = T>) -> bool {
    pin!(read).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn only_reads_that_would_block_change_the_thread() {
    let (store, direct) = (store(&["memory", "disk"], 10), store(&["disk"], 10));
    let _occupied = occupy(&store);
    for key in ["memory", "absent"] {
        assert!(is_at_once(store.get(key)) && is_at_once(store.get_entry(key)));
        assert!(is_at_once(store.has(key)) && is_at_once(store.ttl(key)));
    }
    assert!(!is_at_once(store.get("disk")) && !is_at_once(store.get_entry("disk")));
    assert!(!is_at_once(store.has("disk")) && !is_at_once(store.ttl("disk")));
    let direct = direct.direct_reads(true);
    let _occupied = occupy(&direct);
    assert!(is_at_once(direct.get("disk")) && is_at_once(direct.has("disk")));
}

#[tokio::test]
async fn batch_that_would_block_in_the_middle_answers_every_key_in_order() {
    let keys = ["a", "b", "disk:1", "c", "disk:2"];
    let (store, occupied) = (store(&keys, 10), store(&keys, 10));
    let _occupied = occupy(&occupied);
    for n in 0..=keys.len() {
        let mut asked: Vec<&str> = keys[..n].to_vec();
        asked.push("absent");
        let expected = |key: &&str| (*key != "absent").then(|| format!("{key:10}"));
        let expected: Vec<_> = asked.iter().map(expected).collect();
        let text = |it: &[u8]| String::from_utf8(it.to_vec()).unwrap();
        let values = store.get_many(&asked).await.into_iter();
        let values: Vec<_> = values.map(|it| it.unwrap().map(|it| text(&it))).collect();
        assert_eq!(values, expected);
        let entries = store.get_entries(&asked).await.into_iter();
        let values: Vec<_> = entries.map(|it| it.unwrap().map(|it| text(&it.value))).collect();
        assert_eq!(values, expected);
        assert_eq!(is_at_once(occupied.get_many(&asked)), n <= 2);
    }
}

#[test]
fn many_keys_and_many_bytes_change_the_thread() {
    let keys: Vec<_> = (0..33).map(|it| it.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let (small, large) = (store(&keys, 10), store(&keys, 100_000));
    let _occupied = (occupy(&small), occupy(&large));
    assert!(is_at_once(small.get_many(&keys[..32])));
    assert!(!is_at_once(small.get_many(&keys)));
    assert!(is_at_once(large.get_many(&keys[..1])));
    assert!(!is_at_once(large.get_many(&keys[..2])), "together they are too long");
    let huge = store(&["k"], 200_000);
    let _occupied = occupy(&huge);
    assert!(!is_at_once(huge.get("k")));
}

#[tokio::test]
async fn task_that_reads_in_a_loop_returns_to_its_runtime() {
    let (store, is_over) = (store(&["k"], 10), Arc::new(AtomicBool::new(false)));
    let other = Arc::clone(&is_over);
    let end = async move { other.store(true, Ordering::Relaxed) };
    let read = async move {
        while !is_over.load(Ordering::Relaxed) {
            assert!(store.get("k").await.unwrap().is_some());
        }
    };
    let read = tokio::spawn(read);
    tokio::spawn(end);
    read.await.unwrap();
}
