//! Keys of namespaces whose write or delete failed because the generation could not be read.
//!
//! The store may hold the entry that the call should have replaced, but a tombstone needs its
//! stored key, which contains the generation. The key waits here for a caller that reads the
//! generation later. A clear by another process meanwhile does no harm: an entry of a generation
//! that is newer than the one read was written after the failed call.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::marker::Marker;

/// The markers of a namespace: those of the namespaces around it, outermost first, and its own.
pub(crate) type MarkerPath = Arc<[Arc<Marker>]>;

/// The keys that wait for a generation.
#[derive(Default)]
pub(crate) struct Unentered {
    table: Mutex<Table>,
    /// The number of keys. Callers read it first, and usually need no lock.
    len: AtomicUsize,
}

#[derive(Default)]
struct Table {
    keys: Vec<Waiting>,
    next: u64,
}

struct Waiting {
    path: MarkerPath,
    /// The stored key, and where the generation stands in it.
    key: Box<str>,
    place: Range<usize>,
    /// Distinguishes a failure from later ones.
    number: u64,
}

/// The maximum number of keys.
const MAX_KEYS: usize = 1_000;

impl Unentered {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }

    /// Adds a key. Returns `false` if there are too many.
    pub(crate) fn add(&self, path: &MarkerPath, key: &str, place: Range<usize>) -> bool {
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        if let Some(waiting) = table.keys.iter_mut().find(|it| *it.key == *key) {
            waiting.number = number;
            return true;
        }
        if table.keys.len() >= MAX_KEYS {
            return false;
        }
        table.keys.push(Waiting { path: Arc::clone(path), key: key.into(), place, number });
        self.len.store(table.keys.len(), Ordering::SeqCst);
        true
    }

    /// Returns the current moment if keys of this namespace wait. A caller takes it before it reads
    /// the generation.
    pub(crate) fn moment(&self, path: &MarkerPath) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let table = self.lock();
        table.keys.iter().any(|it| is_same(&it.path, path)).then_some(table.next)
    }

    /// Returns the keys of this namespace that were added before this moment, in their stored form.
    pub(crate) fn entered(&self, path: &MarkerPath, moment: u64, generation: &str) -> Vec<String> {
        let table = self.lock();
        let keys = table.keys.iter().filter(|it| it.is_of(path, moment));
        keys.map(|it| it.entered(generation)).collect()
    }

    /// Removes the keys that [`entered`](Self::entered) returns, after `mark` has run with each.
    pub(crate) fn enter(
        &self,
        path: &MarkerPath,
        moment: u64,
        generation: &str,
        mark: impl Fn(&str),
    ) {
        // Other callers find the key here or its tombstone: the lock is held all the time.
        let mut table = self.lock();
        table.keys.retain(|it| {
            let is_entered = it.is_of(path, moment);
            if is_entered {
                mark(&it.entered(generation));
            }
            !is_entered
        });
        self.len.store(table.keys.len(), Ordering::SeqCst);
    }

    /// Returns the namespace of a key that waits.
    pub(crate) fn any(&self) -> Option<MarkerPath> {
        if self.is_empty() {
            return None;
        }
        self.lock().keys.first().map(|it| Arc::clone(&it.path))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether it is a key of this namespace that was added before this moment.
    fn is_of(&self, path: &MarkerPath, moment: u64) -> bool {
        self.number <= moment && is_same(&self.path, path)
    }

    /// Returns the key in its stored form.
    fn entered(&self, generation: &str) -> String {
        let mut key = self.key.to_string();
        key.replace_range(self.place.clone(), generation);
        key
    }
}

/// Whether two paths are of the same namespace, of two handles.
fn is_same(one: &MarkerPath, other: &MarkerPath) -> bool {
    match (one.last(), other.last()) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn path(name: &str) -> MarkerPath {
        Arc::new([Arc::new(Marker::new(name))])
    }

    fn entered(keys: &Unentered, path: &MarkerPath, moment: u64) -> Vec<String> {
        let marked: RefCell<Vec<String>> = RefCell::default();
        let found = keys.entered(path, moment, "GG");
        keys.enter(path, moment, "GG", |key| marked.borrow_mut().push(key.to_owned()));
        assert_eq!(found, *marked.borrow());
        found
    }

    #[test]
    fn key_is_entered_once_by_a_caller_that_began_after_it_was_added() {
        let (keys, users, other) = (Unentered::default(), path("users"), path("other"));
        assert_eq!(keys.moment(&users), None);
        assert!(keys.add(&users, "p~__:a", 2..4) && keys.add(&other, "q~__:a", 2..4));
        let moment = keys.moment(&users).unwrap();
        assert!(keys.add(&users, "p~__:b", 2..4));
        assert_eq!(entered(&keys, &users, moment), ["p~GG:a"]);
        let moment = keys.moment(&users).unwrap();
        assert!(keys.add(&users, "p~__:b", 2..4), "a later failure");
        assert!(entered(&keys, &users, moment).is_empty());
        assert_eq!(entered(&keys, &users, moment + 1), ["p~GG:b"]);
        assert_eq!(keys.moment(&users), None);
        assert!(Arc::ptr_eq(&keys.any().unwrap(), &other));
        assert_eq!(entered(&keys, &other, u64::MAX), ["q~GG:a"]);
        assert!(keys.is_empty() && keys.any().is_none());
    }

    #[test]
    fn number_of_keys_is_limited() {
        let (keys, users) = (Unentered::default(), path("users"));
        assert!((0..MAX_KEYS).all(|n| keys.add(&users, &format!("__:{n}"), 0..2)));
        assert!(!keys.add(&users, "__:more", 0..2));
        assert!(keys.add(&users, "__:0", 0..2), "it waits already");
    }
}
