//! Futures that are dropped at any moment.

use std::{future::poll_fn, hash::BuildHasher as _, pin::pin, task::Poll, time::Duration};

use cache_core::{Cache, ErrorKind, Timeout, Ttl, secs};
use futures_util::future::join_all;

use crate::{PATIENT, Stage, cache_on, keys, promises, report, stored_key, timed};

promises!($ cancelled:
    dropped_futures_take_nobodys_answer,
    a_version_move_that_is_dropped_comes_to_its_end_by_itself,
);

const KEYS: usize = 40;
const ROUNDS: usize = 150;

/// Numbers that look like chance and are not the same in each run.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        Self(std::hash::RandomState::new().hash_one(0) | 1)
    }

    /// Below `n`.
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Drops the call after so many polls, or after a moment, unless it has answered by then.
async fn cancelled<T>(dice: &mut Dice, call: impl Future<Output = T>) -> Option<T> {
    if dice.roll(2) == 0 {
        let moment = Duration::from_micros(dice.roll(500));
        return tokio::time::timeout(moment, call).await.ok();
    }
    let mut call = pin!(call);
    let mut polls = dice.roll(4);
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

/// A store may read it in a transaction.
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

/// Tasks that read their own keys beside tasks that drop their calls; how many were dropped.
pub async fn each_gets_its_own(cache: Cache) -> u64 {
    let keys = keys("key", KEYS);
    for key in &keys {
        cache.set(key, &value(key), Timeout::Default).await.unwrap();
    }
    let task = |i: usize| {
        let (cache, keys) = (cache.clone(), keys.clone());
        tokio::spawn(async move {
            let mut dice = Dice::new();
            let mut dropped = 0;
            for _ in 0..ROUNDS {
                let kind = dice.roll(6);
                if i.is_multiple_of(2) {
                    any(&cache, &keys, i, kind).await;
                } else if cancelled(&mut dice, any(&cache, &keys, i, kind)).await.is_none() {
                    dropped += 1;
                }
            }
            dropped
        })
    };
    let tasks = join_all((0..KEYS).map(task)).await;
    tasks.into_iter().map(Result::unwrap).sum()
}

/// The others on the same connection, or who get it after them, get their own answers, and all of them.
async fn dropped_futures_take_nobodys_answer<S: Stage>() {
    let server = S::start();
    for more in ["", &format!("[caches.default.options]\n{}\n", S::OTHERWISE)] {
        let cache = cache_on::<S>(&server, &format!("{PATIENT}{more}")).strict();
        let (dropped, took) = timed(each_gets_its_own(cache)).await;
        assert!(dropped > 0);
        report(&format!("{dropped} futures dropped"), "nothing: the others get their own", took);
    }
}

/// Who moves an entry marks it for the others; a mover that is dropped half way must not keep them waiting.
async fn a_version_move_that_is_dropped_comes_to_its_end_by_itself<S: Stage>() {
    let (cache, _servers) = S::several(PATIENT);
    let cache = cache.strict();
    let mut dice = Dice::new();
    for round in 0..ROUNDS {
        let key = format!("moved{}", round % 5);
        cache.set(&key, &round, secs(60)).await.unwrap();
        let moving = cache.incr_version(&key, 1);
        let _ = cancelled(&mut dice, moving).await;
        // The old mover may have been faster.
        let again = timed(cache.incr_version(&key, 1)).await;
        let error = again.0.err().map(|it| it.kind());
        assert!(matches!(error, None | Some(ErrorKind::KeyNotFound)), "{round} {error:?}");
        let (old, new) = (cache.get::<usize>(&key).await, cache.at_version(2).get(&key).await);
        assert_eq!((old.unwrap(), new.unwrap()), (None, Some(round)));
    }
}
