//! The keys and values of all contenders.

use std::sync::Arc;

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The keys, and the value of all keys.
pub(in crate::suites) struct Inputs {
    /// The keys of the callers.
    names: Vec<String>,
    /// The keys in the store.
    keys: Vec<String>,
    counters: Vec<String>,
    counter_keys: Vec<String>,
    pub(in crate::suites) value: User,
}

/// A stored value. The peers in Python store the same.
#[derive(Serialize, Deserialize)]
pub(in crate::suites) struct User {
    id: u64,
    name: String,
    text: String,
}

impl User {
    /// Returns a short value with a number.
    pub(in crate::suites) fn numbered(number: u64) -> Self {
        Self { id: number, name: "Ada".into(), text: "x".repeat(50) }
    }

    pub(in crate::suites) fn is_numbered(&self, number: u64) -> bool {
        self.id == number
    }
}

/// The number of keys of a batch.
pub(in crate::suites) const MANY: usize = 100;
/// The key prefix in the settings.
pub(in crate::suites) const PREFIX: &str = "bench";

const KEYS: usize = 1_000;

impl Inputs {
    /// Creates inputs with values of `size` bytes of JSON.
    pub(in crate::suites) fn new(size: usize) -> Result<Arc<Self>> {
        Self::of(size, KEYS, KEYS)
    }

    /// Creates inputs with this number of keys and without counters.
    pub(in crate::suites) fn with_keys(size: usize, keys: usize) -> Result<Arc<Self>> {
        Self::of(size, keys, 0)
    }

    fn of(size: usize, keys: usize, counters: usize) -> Result<Arc<Self>> {
        let mut value = User { id: 42, name: "Ada".into(), text: String::new() };
        value.text = "x".repeat(size - serde_json::to_vec(&value)?.len());
        let names: Vec<String> = (0..keys).map(|n| format!("user:{n:06}")).collect();
        let counters: Vec<String> = (0..counters).map(|n| format!("visits:{n:06}")).collect();
        let stored = |it: &Vec<String>| it.iter().map(|it| format!("{PREFIX}:1:{it}")).collect();
        let (keys, counter_keys) = (stored(&names), stored(&counters));
        Ok(Arc::new(Self { names, keys, counters, counter_keys, value }))
    }

    pub(in crate::suites) fn all(&self) -> (&[String], &[String]) {
        (&self.names, &self.counters)
    }

    /// Returns the name of the n-th call. Consecutive names are far apart.
    pub(in crate::suites) fn name(&self, n: usize) -> &str {
        &self.names[self.place(n)]
    }

    pub(in crate::suites) fn key(&self, n: usize) -> &str {
        &self.keys[self.place(n)]
    }

    pub(in crate::suites) fn counter(&self, n: usize) -> &str {
        &self.counters[self.place(n)]
    }

    pub(in crate::suites) fn counter_key(&self, n: usize) -> &str {
        &self.counter_keys[self.place(n)]
    }

    /// Returns the names of a batch.
    pub(in crate::suites) fn many(&self, n: usize) -> impl Iterator<Item = &str> {
        self.batch(n).map(|it| self.names[it].as_str())
    }

    /// Returns the keys of a batch.
    pub(in crate::suites) fn many_keys(&self, n: usize) -> impl Iterator<Item = &str> {
        self.batch(n).map(|it| self.keys[it].as_str())
    }

    fn place(&self, n: usize) -> usize {
        n.wrapping_mul(7919) % self.names.len()
    }

    fn batch(&self, n: usize) -> impl Iterator<Item = usize> {
        let (start, len) = (self.place(n), self.names.len());
        (0..MANY).map(move |it| (start + it) % len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_requested_length() {
        for size in [100, 10_000] {
            let inputs = Inputs::new(size).unwrap();
            assert_eq!(serde_json::to_vec(&inputs.value).unwrap().len(), size);
        }
    }
}
