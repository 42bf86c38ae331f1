//! Deletes of keys that may hold a lease or a floor, which are not values.

use std::collections::HashSet;

use bytes::Bytes;

use crate::{
    cache::{Cache, call_leader, call_write, put_aside},
    error::Result,
    fetch::singleflight::WriteGuard,
    value::{Form, envelope},
};

impl<V: Form> Cache<V> {
    /// Removes a key. A lease or a floor is not a value that existed.
    pub(in crate::cache) async fn remove_value(
        &self,
        key: &str,
        writing: &WriteGuard<'_>,
    ) -> Result<bool> {
        if !self.shared.takes_to_delete {
            // A lease or a floor is found by a read, as in a batch.
            let marked = self.marked(&[key]).await;
            let res: Result<bool> = call_write!(self, writing, delete(key));
            return res.map(|it| it && !marked.contains(key));
        }
        let res: Result<Option<Bytes>> = call_write!(self, writing, take(key));
        match res {
            // The value of another program, which is not read.
            Err(error) if error.kind().is_unreadable() => call_write!(self, writing, delete(key)),
            res => res.map(|it| it.is_some_and(|it| !envelope::is_lease_or_floor(&it))),
        }
    }

    /// Returns the keys that hold a lease or a floor, before they are deleted.
    pub(in crate::cache) async fn marked<'a>(&self, keys: &[&'a str]) -> HashSet<&'a str> {
        if !self.shared.fetch.has_marks() {
            return HashSet::new();
        }
        let answers: Vec<Result<Option<Bytes>>> = call_leader!(self.get_many(keys));
        let is_mark = |it: &Result<Option<Bytes>>| matches!(it, Ok(Some(stored)) if envelope::is_lease_or_floor(stored));
        let keys = keys.iter().zip(answers).filter(|(_, answer)| is_mark(answer));
        keys.map(|(key, _)| *key).collect()
    }
}
