//! The entry of a session, and how a save is merged into it.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
};

use serde::{Deserialize, Serialize};

/// The values of a session as JSON texts: what `actix-session` keeps, and what every codec stores.
pub(super) type Values = BTreeMap<String, String>;

/// The name under which the loaded values travel with the session.
pub(super) const LOADED: &str = "cache-tower:loaded";

/// How many requests an entry remembers. A request that saves again after so many others have
/// changed the session is compared with what it loaded: its own save may then be a conflict.
const SAVES: usize = 8;

/// The entry of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Nanoseconds since 1970.
    pub(super) expires: i64,
    pub(super) values: Values,
    /// The values that the last requests saved, the latest request at the end.
    pub(super) saves: Vec<Saved>,
}

/// How the values that a request saved differ from those that it loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The number of the `Loaded`.
    number: u64,
    fingerprints: BTreeMap<String, u64>,
}

/// A session as one request loaded or created it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    /// The number of this load: the request's own saves are no conflict with its next one.
    pub(super) number: u64,
    pub(super) values: Values,
}

/// Both changed the same value.
#[derive(Debug, PartialEq)]
pub(super) struct Conflict;

impl Loaded {
    /// Creates the note about values that a request loads or creates.
    pub(super) fn new(values: Values) -> Self {
        Self { number: random_number(), values }
    }

    /// Takes the note out of the values of a request. It is absent if the request cleared the
    /// session.
    pub(super) fn take(values: &mut Values) -> Option<Self> {
        serde_json::from_str(&values.remove(LOADED)?).ok()
    }

    /// Returns a number for a value or its absence. No client can choose two texts with the same
    /// number, because the number of the load is secret and random.
    fn fingerprint(&self, text: Option<&String>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.number, text).hash(&mut hasher);
        hasher.finish()
    }

    /// Returns what the request changes, all its saves together.
    fn changes(&self, new: &Values) -> Saved {
        let names = self.values.keys().chain(new.keys());
        let changed = names.filter(|&it| self.values.get(it) != new.get(it));
        let fingerprints = changed.map(|it| (it.clone(), self.fingerprint(new.get(it)))).collect();
        Saved { number: self.number, fingerprints }
    }
}

impl Stored {
    pub(super) fn new(expires: i64, values: Values) -> Self {
        Self { expires, values, saves: Vec::new() }
    }

    /// Returns the entry with the changes that a request made since it loaded the session, or since
    /// its own last save.
    pub(super) fn merge(self, loaded: &Loaded, new: &Values) -> Result<Self, Conflict> {
        let Self { expires, values: stored, mut saves } = self;
        let own = saves.iter().position(|it| it.number == loaded.number);
        let own = own.map(|it| saves.remove(it).fingerprints).unwrap_or_default();
        let mut values = Values::new();
        for name in stored.keys().chain(new.keys().filter(|&it| !stored.contains_key(it))) {
            let print = |it: Option<&String>| loaded.fingerprint(it);
            let old = own.get(name).copied().unwrap_or_else(|| print(loaded.values.get(name)));
            let (stored, new) = (stored.get(name), new.get(name));
            let is_changed = print(new) != old;
            if is_changed && print(stored) != old && new != stored {
                return Err(Conflict);
            }
            if let Some(value) = if is_changed { new } else { stored } {
                values.insert(name.clone(), value.clone());
            }
        }
        let changes = loaded.changes(new);
        if !changes.fingerprints.is_empty() {
            saves.push(changes);
            saves.drain(..saves.len().saturating_sub(SAVES));
        }
        Ok(Self { expires, values, saves })
    }
}

/// Returns a random number of the standard library, another one for each call.
pub(super) fn random_number() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Values {
        let pairs = text.split_whitespace().filter_map(|it| it.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn stored(text: &str) -> Stored {
        Stored::new(0, values(text))
    }

    fn merged(loaded: &str, stored_now: &str, new: &str) -> Result<Values, Conflict> {
        stored(stored_now).merge(&Loaded::new(values(loaded)), &values(new)).map(|it| it.values)
    }

    #[test]
    fn changes_of_different_values_are_all_kept() {
        assert_eq!(merged("a=1 b=1", "a=1 b=2", "a=3 b=1"), Ok(values("a=3 b=2")));
        assert_eq!(merged("a=1 b=1", "a=1", "b=1"), Ok(values("")), "both removed one");
        assert_eq!(merged("", "a=1", "b=1"), Ok(values("a=1 b=1")), "both added one");
        assert_eq!(merged("a=1", "a=1 b=1", ""), Ok(values("b=1")));
        assert_eq!(merged("a=1", "", "a=1 b=1"), Ok(values("b=1")), "a removed value stays away");
    }

    #[test]
    fn different_changes_of_one_value_are_a_conflict() {
        assert_eq!(merged("a=1", "a=2", "a=3"), Err(Conflict));
        assert_eq!(merged("a=1", "", "a=3"), Err(Conflict), "removed and changed");
        assert_eq!(merged("a=1", "a=2", ""), Err(Conflict), "changed and removed");
        assert_eq!(merged("", "a=1", "a=2"), Err(Conflict), "both added it");
        assert_eq!(merged("a=1", "a=2", "a=2"), Ok(values("a=2")), "the same change");
    }

    /// Saves by two requests that loaded the same values: `(is_first, values)`. Returns the result
    /// of the last one.
    fn saved(loaded: &str, saves: &[(bool, &str)]) -> Result<Values, Conflict> {
        let [first, second] = [(), ()].map(|()| Loaded::new(values(loaded)));
        let mut res = stored(loaded);
        for &(is_first, new) in saves {
            res = res.merge(if is_first { &first } else { &second }, &values(new))?;
        }
        Ok(res.values)
    }

    #[test]
    fn second_save_of_one_request_is_no_conflict() {
        assert_eq!(saved("a=1", &[(true, "a=2"), (true, "a=3")]), Ok(values("a=3")));
        let back = [(true, "a=2"), (false, "a=1"), (true, "a=1")];
        assert_eq!(saved("a=1", &back), Ok(values("a=1")), "the other one changed nothing");
    }

    #[test]
    fn saves_of_others_between_two_saves_are_kept_and_no_conflict() {
        let between = |last| saved("a=1", &[(true, "a=2"), (false, "a=1 b=1"), (true, last)]);
        assert_eq!(between("a=1"), Ok(values("a=1 b=1")), "back to the loaded value");
        assert_eq!(between("a=3"), Ok(values("a=3 b=1")), "a third value");
        assert_eq!(between("a=2"), Ok(values("a=2 b=1")), "no further change");
        assert_eq!(between(""), Ok(values("b=1")), "removed");
        let removed = |last| saved("a=1", &[(true, ""), (false, "a=1 b=1"), (true, last)]);
        assert_eq!(removed("a=1"), Ok(values("a=1 b=1")), "removed and back");
        assert_eq!(removed(""), Ok(values("b=1")));
        let before = [(false, "a=1 b=1"), (true, "a=2"), (true, "a=3")];
        assert_eq!(saved("a=1", &before), Ok(values("a=3 b=1")), "merged by the first save");
    }

    #[test]
    fn change_of_an_own_saved_value_by_another_request_is_not_undone() {
        let first = Loaded::new(values("a=1"));
        let entry = stored("a=1").merge(&first, &values("a=2")).unwrap();
        let second = Loaded::new(entry.values.clone());
        let entry = entry.merge(&second, &values("a=3")).unwrap();
        let again = entry.clone().merge(&first, &values("a=2")).unwrap();
        assert_eq!(again.values, values("a=3"), "the first one changed nothing since");
        for new in ["a=1", "a=4", ""] {
            assert_eq!(entry.clone().merge(&first, &values(new)), Err(Conflict), "{new}");
        }
    }

    #[test]
    fn entry_remembers_a_few_requests() {
        let mut entry = stored("");
        for n in 0..3 * SAVES {
            entry = entry.merge(&Loaded::new(Values::new()), &values(&format!("{n}=1"))).unwrap();
        }
        assert_eq!((entry.values.len(), entry.saves.len()), (3 * SAVES, SAVES));
    }
}
