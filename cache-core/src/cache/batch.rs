//! The keys of a batch.

use std::{collections::HashMap, iter, ops::Range};

use super::Cache;
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    value::Form,
};

/// Strings in one allocation. Stored keys as separate values would be 232 bytes each, and separate
/// strings would need one allocation each.
#[derive(Debug, Default)]
pub(super) struct Strings {
    text: String,
    ends: Vec<usize>,
}

/// The distinct keys of a batch. A key function may map several keys to one.
#[derive(Debug)]
pub(super) struct Distinct<'a> {
    /// The keys in order.
    pub(super) keys: Vec<&'a str>,
    /// For each given key, its index in `keys`.
    pub(super) places: Vec<usize>,
}

impl Strings {
    /// Reserves room for `count` strings. The count is a hint of an iterator, so it is limited.
    pub(super) fn with_capacity(count: usize) -> Self {
        let count = count.min(1000);
        // 32 bytes is a typical length of a key.
        Self { text: String::with_capacity(count * 32), ends: Vec::with_capacity(count) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn push(&mut self, it: &str) {
        self.text.push_str(it);
        self.ends.push(self.text.len());
    }

    /// Overwrites the same place of all strings with a text of the same length.
    pub(super) fn overwrite(&mut self, place: Range<usize>, text: &str) {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        for start in starts.take(self.ends.len()) {
            self.text.replace_range(start + place.start..start + place.end, text);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }

    pub(super) fn distinct(&self) -> Distinct<'_> {
        let count = self.ends.len();
        let mut keys = Vec::with_capacity(count);
        let mut known = HashMap::with_capacity(count);
        let places = self.iter().map(|key| {
            *known.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            })
        });
        Distinct { places: places.collect(), keys }
    }
}

impl<V: Form> Cache<V> {
    /// Returns the stored forms of the keys of a caller.
    pub(super) fn keys<K: AsRef<str>>(&self, operation: Operation, names: &[K]) -> Result<Strings> {
        let mut res = Strings::with_capacity(names.len());
        for name in names {
            self.push_key(operation, name.as_ref(), &mut res)?;
        }
        Ok(res)
    }

    pub(super) fn push_key(
        &self,
        operation: Operation,
        name: &str,
        keys: &mut Strings,
    ) -> Result<()> {
        let mut key = FullKey::new();
        self.write_key(operation, name, &mut key)?;
        keys.push(&key);
        Ok(())
    }
}

/// Returns one answer for each key, also if the store returned too few: a write without an answer
/// does not count as done.
pub(super) fn one_each<T>(answers: Vec<Result<T>>) -> impl Iterator<Item = Result<T>> {
    let too_few = || {
        Err(Error::new(
            ErrorKind::Backend,
            "incomplete reply: the store returned fewer results than keys",
        ))
    };
    answers.into_iter().chain(iter::repeat_with(too_few))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_share_one_index() {
        let mut strings = Strings::default();
        for it in ["a", "", "bc", "a", ""] {
            strings.push(it);
        }
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["a", "", "bc", "a", ""]);
        let Distinct { keys, places } = strings.distinct();
        assert_eq!((keys, places), (vec!["a", "", "bc"], vec![0, 1, 2, 0, 1]));
        assert!(Strings::default().distinct().keys.is_empty());
    }
}
