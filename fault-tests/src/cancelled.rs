//! Futures that are dropped at arbitrary points.

use std::{future::poll_fn, hash::BuildHasher as _, pin::pin, task::Poll, time::Duration};

use cache_core::{Cache, ErrorKind, Timeout, Ttl, secs};
use futures_util::future::join_all;

use crate::{Harness, PATIENT, cache_on, keys, promises, report, stored_key, timed};

promises!($ cancelled:
    dropped_future_takes_no_reply_of_another_call,
    dropped_version_move_completes,
);

const KEYS: usize = 40;
const ROUNDS: usize = 150;

/// A pseudo-random generator with a new seed in each run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(std::hash::RandomState::new().hash_one(0) | 1)
    }

    /// Returns a number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Drops the call after a few polls or after a moment, unless it has finished.
async fn cancelled<T>(random: &mut Random, call: impl Future<Output = T>) -> Option<T> {
    if random.below(2) == 0 {
        let moment = Duration::from_micros(random.below(500));
        return tokio::time::timeout(moment, call).await.ok();
    }
    let mut call = pin!(call);
    let mut polls = random.below(4);
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(it) => Poll::Ready(Some(it)),
        Poll::Pending if polls == 0 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            Poll::Pending
        }
    })
    .await
}

fn value(key: &str) -> String {
    format!("value of {key}")
}

async fn get(cache: &Cache, keys: &[String], i: usize) {
    let key = &keys[i];
    assert_eq!(cache.get::<String>(key).await.unwrap(), Some(value(key)));
}

async fn get_many(cache: &Cache, keys: &[String], i: usize) {
    let asked: Vec<_> = (0..7).map(|n| &keys[(i + n * 3) % KEYS]).collect();
    let found = cache.get_many::<String, _>(&asked).await.unwrap();
    assert_eq!(found.len(), asked.len());
    for (key, read) in found {
        assert_eq!(read, value(key));
    }
}

/// Some stores read an entry in a transaction.
async fn get_entry(cache: &Cache, keys: &[String], i: usize) {
    let entry = cache.backend().get_entry(&stored_key(&keys[i])).await.unwrap().unwrap();
    assert_eq!(entry.value, format!("\"{}\"", value(&keys[i])));
    assert!(matches!(entry.ttl, Ttl::Remaining(_)));
}

async fn get_entries(cache: &Cache, keys: &[String], i: usize) {
    let names: Vec<_> = (0..5).map(|n| &keys[(i + n * 3) % KEYS]).collect();
    let asked: Vec<_> = names.iter().map(|it| stored_key(it)).collect();
    let asked: Vec<_> = asked.iter().map(String::as_str).collect();
    for (key, entry) in names.into_iter().zip(cache.backend().get_entries(&asked).await) {
        assert_eq!(entry.unwrap().unwrap().value, format!("\"{}\"", value(key)));
    }
}

async fn any(cache: &Cache, keys: &[String], i: usize, kind: u64) {
    match kind {
        0 => get_many(cache, keys, i).await,
        1 => get_entry(cache, keys, i).await,
        2 => get_entries(cache, keys, i).await,
        _ => get(cache, keys, i).await,
    }
}

/// Half of the tasks check the values they read; the other half drop their calls. Returns how many
/// calls were dropped.
pub async fn readers_beside_dropped_calls(cache: Cache) -> u64 {
    let keys = keys("key", KEYS);
    for key in &keys {
        cache.set(key, &value(key), Timeout::Default).await.unwrap();
    }
    let task = |i: usize| {
        let (cache, keys) = (cache.clone(), keys.clone());
        tokio::spawn(async move {
            let mut random = Random::new();
            let mut dropped = 0;
            for _ in 0..ROUNDS {
                let kind = random.below(6);
                if i.is_multiple_of(2) {
                    any(&cache, &keys, i, kind).await;
                } else if cancelled(&mut random, any(&cache, &keys, i, kind)).await.is_none() {
                    dropped += 1;
                }
            }
            dropped
        })
    };
    let tasks = join_all((0..KEYS).map(task)).await;
    tasks.into_iter().map(Result::unwrap).sum()
}

/// Other calls, on the same connection or later on it, all get their own replies.
async fn dropped_future_takes_no_reply_of_another_call<S: Harness>() {
    let server = S::start();
    for more in ["", &format!("[caches.default.options]\n{}\n", S::OTHER_OPTIONS)] {
        let cache = cache_on::<S>(&server, &format!("{PATIENT}{more}")).strict();
        let (dropped, took) = timed(readers_beside_dropped_calls(cache)).await;
        assert!(dropped > 0);
        report(&format!("{dropped} futures dropped"), "no effect on other calls", took);
    }
}

/// A version move marks its entry for other processes. If it is dropped half way, they must not
/// wait for ever.
async fn dropped_version_move_completes<S: Harness>() {
    let (cache, _servers) = S::several_servers(PATIENT);
    let cache = cache.strict();
    let mut random = Random::new();
    for round in 0..ROUNDS {
        let key = format!("moved{}", round % 5);
        cache.set(&key, &round, secs(60)).await.unwrap();
        let moving = cache.incr_version(&key, 1);
        let _ = cancelled(&mut random, moving).await;
        // The dropped move may have completed first.
        let again = timed(cache.incr_version(&key, 1)).await;
        let error = again.0.err().map(|it| it.kind());
        assert!(matches!(error, None | Some(ErrorKind::KeyNotFound)), "{round} {error:?}");
        let (old, new) = (cache.get::<usize>(&key).await, cache.at_version(2).get(&key).await);
        assert_eq!((old.unwrap(), new.unwrap()), (None, Some(round)));
    }
}
