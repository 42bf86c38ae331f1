//! The keys and values of all contenders.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// The rows of a table, and the next new row.
pub(in crate::suites) struct Rows {
    pub(in crate::suites) count: usize,
    /// The length of a value as JSON.
    pub(in crate::suites) size: usize,
    text: String,
    next: AtomicUsize,
}

/// A stored value.
#[derive(Serialize, Deserialize)]
pub(in crate::suites) struct User {
    id: usize,
    name: String,
    text: String,
}

/// A value that borrows its text.
#[derive(Serialize)]
pub(in crate::suites) struct NewUser<'a> {
    id: usize,
    name: &'a str,
    text: &'a str,
}

/// The number of rows, and its suffix in the name of a case.
pub(in crate::suites) const TABLES: [(usize, &str); 3] =
    [(1_000, "_1k"), (100_000, ""), (1_000_000, "_1m")];
/// Larger tables have short values only, and are measured in long runs only.
pub(in crate::suites) const LONG: usize = 100_000;
/// The key prefix in the settings.
pub(in crate::suites) const PREFIX: &str = "bench";
/// The number of keys of a batch.
pub(in crate::suites) const MANY: usize = 100;
/// The number of counters.
const COUNTERS: usize = 1_000;

impl Rows {
    pub(in crate::suites) fn new(count: usize, size: usize) -> Result<Arc<Self>> {
        let mut res = Self { count, size, text: String::new(), next: AtomicUsize::new(0) };
        res.text = "x".repeat(size - serde_json::to_vec(&res.value(0))?.len());
        Ok(Arc::new(res))
    }

    /// Returns another number each time.
    pub(in crate::suites) fn next(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a row. Consecutive calls return rows that are far apart, and all rows in turn.
    pub(in crate::suites) fn any(&self) -> usize {
        place(self.next(), self.count)
    }

    /// Returns a new value, because a database may skip the write of an equal value.
    pub(in crate::suites) fn value(&self, n: usize) -> NewUser<'_> {
        NewUser { id: 10_000_000 + n % 10_000_000, name: "Ada", text: &self.text }
    }

    pub(in crate::suites) fn json(&self, n: usize) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.value(n))?)
    }

    /// Returns consecutive rows of the table.
    pub(in crate::suites) fn many(&self) -> impl Iterator<Item = usize> {
        let (start, count) = (self.any(), self.count);
        (0..MANY).map(move |it| (start + it) % count)
    }
}

pub(in crate::suites) fn name(row: usize) -> String {
    format!("user:{row:07}")
}

pub(in crate::suites) fn new_name(n: usize) -> String {
    format!("new:{n:08}")
}

pub(in crate::suites) fn counter(n: usize) -> String {
    format!("visits:{:04}", n % COUNTERS)
}

pub(in crate::suites) fn counters() -> impl Iterator<Item = String> {
    (0..COUNTERS).map(counter)
}

/// Returns the key in the store.
pub(in crate::suites) fn key(name: &str) -> String {
    format!("{PREFIX}:1:{name}")
}

fn place(n: usize, count: usize) -> usize {
    let number = Random::new(n as u64).number();
    usize::try_from(number % count as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_requested_length_and_differ() {
        for size in [100, 10_000] {
            let rows = Rows::new(10, size).unwrap();
            let (one, other) = (rows.json(1).unwrap(), rows.json(9_999_999).unwrap());
            assert_eq!((one.len(), other.len()), (size, size));
            assert_ne!(one, other);
        }
    }
}
