//! Changes that are not published yet.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::message::Change;
use crate::consistency::TaskClaim;

/// The changes of this process that a server has not acknowledged. Their number is limited: with
/// more, all keys are removed elsewhere.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// The keys, and the number of the last change of each.
    keys: HashMap<Box<str>, u64>,
    /// The number of the last clear, and whether it is of the whole store. It covers all keys.
    clear: Option<(u64, bool)>,
    last: u64,
    task: TaskClaim,
}

/// Changes to be sent again.
pub(super) enum Pending {
    Nothing,
    Keys(Vec<Box<str>>),
    Clear { is_of_store: bool },
}

/// The maximum number of keys.
const MAX_KEYS: usize = 10_000;
/// The number of keys that are sent at a time.
const CHUNK: usize = 1_000;

impl Outbox {
    /// Returns the current moment: see [`acknowledge`](Self::acknowledge).
    pub(super) fn moment(&self) -> u64 {
        self.lock().last
    }

    /// Adds a change that could not be published. An expiry is repeated as an invalidation.
    pub(super) fn add(&self, change: &Change<'_>) {
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        let is_of_store = match (change, table.clear) {
            (Change::StoreCleared, _) | (_, Some((_, true))) => true,
            (Change::Cleared(_), _) | (_, Some(_)) => false,
            (Change::Removed(keys), None) => return table.add_keys(keys, number),
            (Change::Expired(key), None) => return table.add_keys(&[*key], number),
        };
        table.keys.clear();
        table.clear = Some((number, is_of_store));
    }

    /// Removes the changes that were published by a call that began at `moment`.
    pub(super) fn acknowledge(&self, change: &Change<'_>, moment: u64) {
        let mut table = self.lock();
        let covers_store = match change {
            Change::Removed(keys) => return table.remove_keys(keys, moment),
            Change::Expired(_) => return,
            Change::Cleared(_) => false,
            Change::StoreCleared => true,
        };
        table.keys.retain(|_, number| *number > moment);
        table
            .clear
            .take_if(|(number, is_of_store)| *number <= moment && (covers_store || !*is_of_store));
    }

    /// Returns what is to be sent next.
    pub(super) fn pending(&self) -> Pending {
        let table = self.lock();
        match table.clear {
            Some((_, is_of_store)) => Pending::Clear { is_of_store },
            None if table.keys.is_empty() => Pending::Nothing,
            None => Pending::Keys(table.keys.keys().take(CHUNK).cloned().collect()),
        }
    }

    /// Returns how many keys and clears are pending.
    pub(super) fn len(&self) -> usize {
        let table = self.lock();
        table.keys.len() + usize::from(table.clear.is_some())
    }

    /// Returns whether the caller becomes the background task, for `lasts`.
    pub(super) fn begin_task(&self, now: Duration, lasts: Duration) -> bool {
        let mut table = self.lock();
        let has_work = table.has_work();
        table.task.begin(has_work, now, lasts)
    }

    /// Returns whether the background task goes on, for `lasts` more.
    pub(super) fn continue_task(&self, now: Duration, lasts: Duration) -> bool {
        let mut table = self.lock();
        let has_work = table.has_work();
        table.task.go_on(has_work, now, lasts)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add_keys(&mut self, keys: &[&str], number: u64) {
        for key in keys {
            self.keys.insert((*key).into(), number);
        }
        if self.keys.len() > MAX_KEYS {
            self.keys.clear();
            self.clear = Some((number, false));
        }
    }

    fn remove_keys(&mut self, keys: &[&str], moment: u64) {
        if self.keys.is_empty() {
            return;
        }
        for key in keys {
            if self.keys.get(*key).is_some_and(|number| *number <= moment) {
                self.keys.remove(*key);
            }
        }
    }

    fn has_work(&self) -> bool {
        self.clear.is_some() || !self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Namespace;

    fn keys(outbox: &Outbox) -> Vec<Box<str>> {
        match outbox.pending() {
            Pending::Keys(mut keys) => {
                keys.sort();
                keys
            }
            Pending::Nothing => Vec::new(),
            Pending::Clear { .. } => panic!("a clear"),
        }
    }

    #[test]
    fn later_failure_of_a_key_stays_after_an_earlier_call_was_acknowledged() {
        let outbox = Outbox::default();
        outbox.add(&Change::Removed(&["a", "b"]));
        let moment = outbox.moment();
        outbox.add(&Change::Removed(&["b"]));
        outbox.acknowledge(&Change::Removed(&["a", "b"]), moment);
        assert_eq!(keys(&outbox), ["b".into()]);
        outbox.acknowledge(&Change::Cleared(&Namespace::unprefixed()), outbox.moment());
        assert_eq!(outbox.len(), 0);
        assert!(matches!(outbox.pending(), Pending::Nothing));
    }

    #[test]
    fn clear_covers_keys_and_ends_only_with_a_clear() {
        let (outbox, none) = (Outbox::default(), Namespace::unprefixed());
        outbox.add(&Change::Expired("a"));
        outbox.add(&Change::Cleared(&none));
        outbox.add(&Change::Removed(&["b"]));
        assert!(matches!(outbox.pending(), Pending::Clear { is_of_store: false }));
        outbox.acknowledge(&Change::Removed(&["b"]), outbox.moment());
        assert_eq!(outbox.len(), 1);
        outbox.add(&Change::StoreCleared);
        outbox.add(&Change::Cleared(&none));
        assert!(matches!(outbox.pending(), Pending::Clear { is_of_store: true }));
        outbox.acknowledge(&Change::Cleared(&none), outbox.moment());
        assert_eq!(outbox.len(), 1);
        outbox.acknowledge(&Change::StoreCleared, outbox.moment());
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn too_many_keys_become_a_clear() {
        let outbox = Outbox::default();
        for n in 0..MAX_KEYS {
            outbox.add(&Change::Removed(&[&n.to_string()]));
        }
        assert_eq!(keys(&outbox).len(), CHUNK);
        outbox.add(&Change::Removed(&["more"]));
        assert!(matches!(outbox.pending(), Pending::Clear { is_of_store: false }));
        assert_eq!(outbox.len(), 1);
    }
}
