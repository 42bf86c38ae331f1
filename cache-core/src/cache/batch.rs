//! Keys of a batch.

use std::{collections::HashMap, iter};

use super::Cache;
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
};

/// Strings, one behind the other in one piece of memory: as stored keys of their own, which have room for the
/// longest, they would be 232 bytes each to move about, and as strings of their own an allocation each.
#[derive(Debug, Default)]
pub(super) struct Strings {
    text: String,
    ends: Vec<usize>,
}

/// The different keys of a batch: a key function may make one of several.
#[derive(Debug)]
pub(super) struct Distinct<'a> {
    /// In order.
    pub(super) keys: Vec<&'a str>,
    /// For each key that was given, which of them it is.
    pub(super) places: Vec<usize>,
}

impl Strings {
    /// With room for so many, if that is believable.
    pub(super) fn with_capacity(count: usize) -> Self {
        let count = count.min(1000);
        // A guess at their length.
        Self { text: String::with_capacity(count * 32), ends: Vec::with_capacity(count) }
    }

    pub(super) fn push(&mut self, it: &str) {
        self.text.push_str(it);
        self.ends.push(self.text.len());
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

impl Cache {
    /// The stored forms of callers' keys.
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

/// An answer for each key, also of a store that gave too few: a write that it says nothing of is not taken for done.
pub(super) fn one_each<T>(answers: Vec<Result<T>>) -> impl Iterator<Item = Result<T>> {
    let too_few = || {
        Err(Error::new(ErrorKind::Backend, "the store answered for fewer keys than it was asked"))
    };
    answers.into_iter().chain(iter::repeat_with(too_few))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_twice_has_one_place() {
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
