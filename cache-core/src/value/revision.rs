//! The order of revisions: which change may replace what is stored.

use bytes::Bytes;

use super::envelope::{self, Terms};
use crate::timeout::{Expiry, Ttl};

/// A change of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The new bytes and their lifetime; `None` if the entry is removed.
    pub(crate) new: Option<(Bytes, Expiry)>,
    /// The revision of the change; `None` for a load that has none.
    pub(crate) revision: Option<u64>,
}

/// The decision on a change of a stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The change stores these bytes with this lifetime, or removes the entry.
    Applies(Option<(Bytes, Expiry)>),
    /// A newer revision is stored.
    IsOld,
}

/// The content of an entry with a revision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content<'a> {
    Value(&'a [u8]),
    Absent,
    /// Deleted.
    Floor,
}

impl Change {
    /// Returns the change that stores these bytes, which contain their revision.
    pub(crate) fn store(stored: Bytes, expiry: Expiry) -> Self {
        let revision = envelope::split(&stored).and_then(|(terms, _)| terms.revision);
        Self { new: Some((stored, expiry)), revision }
    }

    /// Returns the change that removes the entry.
    pub(crate) fn remove(revision: Option<u64>) -> Self {
        Self { new: None, revision }
    }

    /// Returns the change that deletes a value and keeps older ones out for a time.
    pub(crate) fn delete(revision: u64, floor: Option<Expiry>) -> Self {
        let new = floor.map(|expiry| (floor_at(revision), expiry));
        Self { new, revision: Some(revision) }
    }

    /// Decides on the change of an entry, of whose lifetime `left` remains.
    ///
    /// An entry without a revision is older than every change. A change without a revision replaces
    /// everything except a floor, which keeps out loads that may have read the deleted value. Of
    /// equal revisions, a delete is the newer one, and a value replaces only itself, which renews
    /// its lifetime, and what is past its timeout.
    pub(crate) fn judge(&self, old: &Bytes, left: Ttl) -> Verdict {
        let Some((terms, payload)) = envelope::split(old) else {
            return Verdict::Applies(self.new.clone());
        };
        let Some(stored) = terms.revision else { return Verdict::Applies(self.new.clone()) };
        let old = Content::of(&terms, payload);
        let new = match &self.new {
            None => Content::Floor,
            Some((stored, _)) => match envelope::split(stored) {
                Some((terms, payload)) => Content::of(&terms, payload),
                None => Content::Value(stored),
            },
        };
        match self.revision {
            None if old == Content::Floor => Verdict::IsOld,
            None if old == new => Verdict::Applies(self.with_revision(stored)),
            None => Verdict::Applies(self.new.clone()),
            Some(it) if it > stored => Verdict::Applies(self.new_after(old, left)),
            Some(it) if it < stored => Verdict::IsOld,
            Some(_) if old == new || new == Content::Floor => {
                Verdict::Applies(self.new_after(old, left))
            }
            Some(_) if old != Content::Floor && is_past(left, &terms) => {
                Verdict::Applies(self.new.clone())
            }
            Some(_) => Verdict::IsOld,
        }
    }

    /// Returns what is stored instead of this content. A floor ends no earlier than the one that it
    /// replaces.
    fn new_after(&self, old: Content<'_>, left: Ttl) -> Option<(Bytes, Expiry)> {
        if old != Content::Floor {
            return self.new.clone();
        }
        let longer = |expiry| match (expiry, left) {
            (Expiry::After(time), Ttl::Remaining(left)) => Expiry::After(time.max(left)),
            _ => Expiry::Never,
        };
        match (&self.new, self.revision) {
            (Some((stored, expiry)), _) if envelope::is_floor(stored) => {
                Some((stored.clone(), longer(*expiry)))
            }
            (None, Some(revision)) => Some((floor_at(revision), left.as_expiry())),
            (new, _) => new.clone(),
        }
    }

    /// Returns the new entry with the revision of the old one: a load without a revision has found
    /// the same value.
    fn with_revision(&self, revision: u64) -> Option<(Bytes, Expiry)> {
        let (stored, expiry) = self.new.as_ref()?;
        Some((envelope::with_revision(stored, revision), *expiry))
    }
}

impl<'a> Content<'a> {
    fn of(terms: &Terms, payload: &'a [u8]) -> Self {
        match terms {
            Terms { is_floor: true, .. } => Self::Floor,
            Terms { is_absent: true, .. } => Self::Absent,
            _ => Self::Value(payload),
        }
    }
}

/// Returns the entry that keeps values of this and older revisions out.
fn floor_at(revision: u64) -> Bytes {
    let terms = Terms { is_floor: true, revision: Some(revision), ..Terms::default() };
    envelope::wrap(b"", terms)
}

fn is_past(left: Ttl, terms: &Terms) -> bool {
    matches!(left, Ttl::Remaining(left) if left <= terms.grace)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));
    const LEFT: Ttl = Ttl::Remaining(Duration::from_secs(30));

    fn value(value: &str, revision: Option<u64>) -> Bytes {
        match revision {
            None => Bytes::copy_from_slice(value.as_bytes()),
            _ => envelope::wrap(value.as_bytes(), Terms { revision, ..Terms::default() }),
        }
    }

    fn absent(revision: u64) -> Bytes {
        let terms = Terms { is_absent: true, revision: Some(revision), ..Terms::default() };
        envelope::wrap(b"", terms)
    }

    fn applies(old: &Bytes, change: &Change) -> bool {
        change.judge(old, LEFT) != Verdict::IsOld
    }

    #[test]
    fn only_newer_changes_apply() {
        let set = |text, revision| Change::store(value(text, revision), MINUTE);
        for old in [value("7", None), absent(5), value("a", Some(5)), floor_at(5)] {
            let has_revision = old != "7";
            assert!(applies(&old, &set("b", Some(6))));
            assert!(applies(&old, &Change::delete(6, Some(MINUTE))));
            assert!(applies(&old, &Change::delete(5, Some(MINUTE))));
            assert!(applies(&old, &Change::remove(Some(5))));
            assert_eq!(applies(&old, &set("b", Some(5))), !has_revision, "equal and different");
            assert_eq!(applies(&old, &set("b", Some(4))), !has_revision);
            assert_eq!(applies(&old, &Change::delete(4, Some(MINUTE))), !has_revision);
            assert_eq!(applies(&old, &set("b", None)), old != floor_at(5), "a load");
            assert_eq!(applies(&old, &Change::remove(None)), old != floor_at(5), "a load");
        }
        assert!(applies(&value("a", Some(5)), &set("a", Some(5))), "the same again");
        assert!(!applies(&floor_at(5), &set("", Some(5))), "an empty value is not the floor");
        assert!(!applies(&absent(5), &set("", Some(5))), "nor is it an absence");
        assert!(applies(&value("a", Some(u64::MAX)), &set("a", Some(u64::MAX))));
        assert!(!applies(&value("a", Some(u64::MAX)), &set("b", Some(0))));
    }

    #[test]
    fn equal_revision_replaces_what_is_past_its_timeout() {
        let terms = Terms { grace: Duration::from_secs(60), ..Terms::default() };
        let old = envelope::wrap(b"a", Terms { revision: Some(5), ..terms });
        let judge = |left, revision| {
            let change = Change::store(value("b", Some(revision)), MINUTE);
            change.judge(&old, Ttl::Remaining(Duration::from_secs(left))) != Verdict::IsOld
        };
        assert!(!judge(61, 5) && judge(60, 5) && !judge(60, 4) && judge(61, 6));
    }

    #[test]
    fn floor_ends_no_earlier_than_the_one_that_it_replaces() {
        let change = |time| Change::delete(6, Some(Expiry::After(Duration::from_secs(time))));
        let expiry = |change: &Change, left| match change.judge(&floor_at(5), left) {
            Verdict::Applies(Some((stored, expiry))) if stored == floor_at(6) => expiry,
            other => panic!("{other:?}"),
        };
        assert_eq!(expiry(&change(60), LEFT), MINUTE);
        assert_eq!(expiry(&change(10), LEFT), Expiry::After(Duration::from_secs(30)));
        assert_eq!(expiry(&change(10), Ttl::Forever), Expiry::Never);
        assert_eq!(expiry(&Change::delete(6, Some(Expiry::Never)), LEFT), Expiry::Never);
        let removed = Change::remove(Some(6));
        assert_eq!(expiry(&removed, LEFT), Expiry::After(Duration::from_secs(30)));
        assert_eq!(removed.judge(&value("a", Some(5)), LEFT), Verdict::Applies(None));
    }

    #[test]
    fn load_without_a_revision_that_finds_the_same_value_keeps_the_revision() {
        let old = value("a", Some(5));
        let load = |text| Change::store(value(text, None), MINUTE).judge(&old, LEFT);
        assert_eq!(load("a"), Verdict::Applies(Some((old.clone(), MINUTE))));
        assert_eq!(load("b"), Verdict::Applies(Some((value("b", None), MINUTE))));
        let terms = Terms { grace: Duration::from_secs(9), ..Terms::default() };
        let change = Change::store(envelope::wrap(b"a", terms), MINUTE);
        let kept = envelope::wrap(b"a", Terms { revision: Some(5), ..terms });
        assert_eq!(change.judge(&old, LEFT), Verdict::Applies(Some((kept, MINUTE))));
    }

    proptest! {
        /// Changes with different revisions end in the newest, whatever their order.
        #[test]
        fn order_of_arrival_does_not_matter(
            revisions in Just((0..8_u64).collect::<Vec<_>>()).prop_shuffle(),
            deletes in proptest::collection::vec(any::<bool>(), 8),
        ) {
            let change = |revision: u64| if deletes[usize::try_from(revision).unwrap()] {
                Change::delete(revision, Some(MINUTE))
            } else {
                Change::store(value(&revision.to_string(), Some(revision)), MINUTE)
            };
            let mut stored = Bytes::from_static(b"old");
            for revision in revisions {
                if let Verdict::Applies(Some((new, _))) = change(revision).judge(&stored, LEFT) {
                    stored = new;
                }
            }
            prop_assert_eq!(Some(stored), change(7).new.map(|it| it.0));
        }
    }
}
