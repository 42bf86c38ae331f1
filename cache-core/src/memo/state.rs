//! The answers that a scope remembers.

use std::{any::Any, collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;

/// How long an answer is remembered: what another process changes is visible after this time.
const LASTS: Duration = Duration::from_secs(1);

/// The bounds of a scope, which also hold for a request that reads without an end.
const MAX_KEYS: usize = 1000;
const MAX_BYTES: usize = 4 << 20;

/// The answers that a scope remembers.
#[derive(Default)]
pub(crate) struct State {
    /// By cache. A request uses few of them.
    caches: Vec<Answers>,
    keys: usize,
    bytes: usize,
}

struct Answers {
    /// Held, so that no other cache gets its address.
    cache: Arc<dyn Any + Send + Sync>,
    answers: HashMap<Box<str>, Answer>,
}

/// An answer to an earlier read: a fresh value, or `None` for a miss.
#[derive(Debug, PartialEq)]
pub(crate) struct Recalled(pub(crate) Option<Bytes>);

struct Answer {
    value: Option<Bytes>,
    moment: Moment,
    by_leader: bool,
}

/// The moment before a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The counters of the writes of this process.
    pub(crate) epoch: [u64; 2],
    /// Since some fixed moment.
    pub(crate) time: Duration,
}

impl State {
    /// Returns the answer to an earlier read, unless the key was written since, or the answer is
    /// too old. `leader` requires an answer of the server that takes the writes.
    pub(crate) fn get(
        &mut self,
        cache: &Arc<dyn Any + Send + Sync>,
        key: &str,
        leader: bool,
        now: Moment,
    ) -> Option<Recalled> {
        let cache = self.caches.iter_mut().find(|it| Arc::ptr_eq(&it.cache, cache))?;
        let answer = cache.answers.get(key)?;
        let age = now.time.saturating_sub(answer.moment.time);
        if answer.moment.epoch == now.epoch && age < LASTS {
            return (answer.by_leader || !leader).then(|| Recalled(answer.value.clone()));
        }
        let removed = cache.answers.remove(key);
        self.keys -= 1;
        self.bytes -= key.len() + removed.map_or(0, |it| it.len());
        None
    }

    /// Remembers the answer to a read that began at this moment.
    pub(crate) fn insert(
        &mut self,
        cache: &Arc<dyn Any + Send + Sync>,
        key: &str,
        by_leader: bool,
        moment: Moment,
        value: Option<Bytes>,
    ) {
        let answer = Answer { value, moment, by_leader };
        let len = key.len() + answer.len();
        if self.keys >= MAX_KEYS || len > MAX_BYTES.saturating_sub(self.bytes) {
            return;
        }
        let place = self.caches.iter().position(|it| Arc::ptr_eq(&it.cache, cache));
        let place = place.unwrap_or_else(|| {
            self.caches.push(Answers { cache: Arc::clone(cache), answers: HashMap::new() });
            self.caches.len() - 1
        });
        let Some(cache) = self.caches.get_mut(place) else { return };
        let old = cache.answers.insert(key.into(), answer);
        self.bytes += len;
        match old {
            None => self.keys += 1,
            Some(old) => self.bytes -= key.len() + old.len(),
        }
    }
}

impl Answer {
    fn len(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment { epoch: [1, 1], time: Duration::from_secs(9) };

    fn cache() -> Arc<dyn Any + Send + Sync> {
        Arc::new(7)
    }

    #[test]
    fn keys_and_bytes_are_bounded() {
        let (cache, mut state) = (cache(), State::default());
        let value = || Some(Bytes::from(vec![0; 5000]));
        for n in 0..2 * MAX_KEYS {
            state.insert(&cache, &n.to_string(), true, NOW, value());
        }
        assert!(state.bytes <= MAX_BYTES && state.bytes > MAX_BYTES - 6000);
        let later = Moment { epoch: [2, 1], ..NOW };
        for n in 0..2 * MAX_KEYS {
            assert_eq!(state.get(&cache, &n.to_string(), true, later), None);
        }
        assert_eq!((state.keys, state.bytes), (0, 0), "what is out of date makes room");
        for n in 0..2 * MAX_KEYS {
            state.insert(&cache, &n.to_string(), true, NOW, None);
            state.insert(&cache, &n.to_string(), true, NOW, None);
        }
        assert_eq!(state.keys, MAX_KEYS);
    }

    #[test]
    fn answers_of_two_caches_are_separate() {
        let (one, two, mut state) = (cache(), cache(), State::default());
        state.insert(&one, "k", true, NOW, None);
        assert_eq!(state.get(&one, "k", true, NOW), Some(Recalled(None)));
        assert_eq!(state.get(&two, "k", true, NOW), None);
    }

    #[test]
    fn answer_of_a_replica_is_not_one_of_the_leader() {
        let (cache, mut state) = (cache(), State::default());
        state.insert(&cache, "k", false, NOW, None);
        assert_eq!(state.get(&cache, "k", false, NOW), Some(Recalled(None)));
        assert_eq!(state.get(&cache, "k", true, NOW), None);
    }
}
