//! The state of the checks while a value is serialised, and the reasons to refuse it.

use std::cell::Cell;

use serde::ser;

/// The maximum nesting of lists, maps, structs and variants with content, in each codec: the limit
/// of `serde_json`.
pub(super) const MAX_DEPTH: usize = 127;

/// The maximum nesting of `Some` and newtypes, to bound the stack. JSON and `MessagePack` leave no
/// bytes of them, so no decoder can count them.
pub(super) const MAX_FRAMES: usize = 4 * MAX_DEPTH;

/// The number of items of lists and maps that may take no byte, in postcard. A reader that trusts
/// the length of such a list would never end.
#[cfg(feature = "postcard")]
pub(super) const MAX_EMPTY_ITEMS: usize = 1 << 16;

/// The reason why a value is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooDeep,
    SomeNull,
    NotFinite,
    SkippedField,
    UnknownLength,
    #[cfg(feature = "postcard")]
    EmptyItems,
}

impl Refused {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TooDeep => "it is nested deeper than 127 levels",
            Self::SomeNull => {
                "`Some` of an empty value (`Some(None)`, `Some(())`) reads back as `None`"
            }
            Self::NotFinite => "JSON has no NaN and no infinity",
            Self::SkippedField => {
                "a field was left out (`skip_serializing_if`), and postcard writes no field names"
            }
            Self::UnknownLength => {
                "the length of a list or map is unknown beforehand (`flatten` causes this)"
            }
            #[cfg(feature = "postcard")]
            Self::EmptyItems => "over 65,536 items of a list or map take no byte",
        }
    }
}

/// The state of the checks while a value is serialised.
#[derive(Debug, Default)]
pub(super) struct Checks {
    is_json: bool,
    is_postcard: bool,
    depth: Cell<usize>,
    frames: Cell<usize>,
    /// The items of all lists and maps.
    items: Cell<usize>,
    /// Whether the last complete value was written as null.
    is_null: Cell<bool>,
    integer: Cell<Option<i64>>,
    /// Whether the type asked if the format is for humans: then its form in JSON is another one.
    form_asked: Cell<bool>,
    refused: Cell<Option<Refused>>,
}

impl Checks {
    pub(super) fn json() -> Self {
        Self { is_json: true, ..Self::default() }
    }

    #[cfg(feature = "postcard")]
    pub(super) fn postcard() -> Self {
        Self { is_postcard: true, ..Self::default() }
    }

    /// Returns the reason why the value was refused.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused.get()
    }

    /// Returns the whole value, if it is an integer within `i64` that JSON would write as the same
    /// integer.
    #[cfg(any(feature = "msgpack", feature = "postcard"))]
    pub(super) fn integer(&self) -> Option<i64> {
        self.integer.get().filter(|_| !(self.is_postcard && self.form_asked.get()))
    }

    /// Returns the number of items of all lists and maps.
    #[cfg(feature = "postcard")]
    pub(super) fn items(&self) -> usize {
        self.items.get()
    }

    #[inline]
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    #[inline]
    pub(super) fn is_postcard(&self) -> bool {
        self.is_postcard
    }

    /// Returns whether the last complete value reads back as `None`.
    #[inline]
    pub(super) fn is_null(&self) -> bool {
        self.is_null.get()
    }

    /// Notes whether a value is written as null. postcard has no null: it marks each `Some`.
    #[inline]
    pub(super) fn saw_null(&self, yes: bool) {
        self.is_null.set(yes && !self.is_postcard);
    }

    #[inline]
    pub(super) fn saw_integer(&self, it: Option<i64>) {
        if self.depth.get() == 0 {
            self.integer.set(it);
        }
    }

    #[inline]
    pub(super) fn note_form_asked(&self) {
        self.form_asked.set(true);
    }

    pub(super) fn refuse<E: ser::Error>(&self, why: Refused) -> E {
        self.refused.set(self.refused.get().or(Some(why)));
        E::custom("refused")
    }

    #[inline]
    pub(super) fn enter<E: ser::Error>(&self, levels: usize) -> Result<(), E> {
        self.depth.set(self.depth.get() + levels);
        if self.depth.get() > MAX_DEPTH { Err(self.refuse(Refused::TooDeep)) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn leave(&self, levels: usize) {
        self.depth.set(self.depth.get() - levels);
        self.is_null.set(false);
    }

    /// Writes the content of a `Some` or a newtype.
    #[inline]
    pub(super) fn within<T, E: ser::Error>(
        &self,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.frames.set(self.frames.get() + 1);
        if self.frames.get() > MAX_FRAMES {
            return Err(self.refuse(Refused::TooDeep));
        }
        let res = write();
        self.frames.set(self.frames.get() - 1);
        res
    }

    #[inline]
    pub(super) fn finite<E: ser::Error>(&self, is_finite: bool) -> Result<(), E> {
        if self.is_json && !is_finite { Err(self.refuse(Refused::NotFinite)) } else { Ok(()) }
    }

    /// Begins a list or map. postcard writes its length first.
    #[inline]
    pub(super) fn begin_list<E: ser::Error>(&self, len: Option<usize>) -> Result<(), E> {
        self.items.set(self.items.get().saturating_add(len.unwrap_or_default()));
        if self.is_postcard && len.is_none() {
            return Err(self.refuse(Refused::UnknownLength));
        }
        Ok(())
    }

    /// Leaves a field out. A reader of postcard would take the next field for it.
    #[inline]
    pub(super) fn skip_field<E: ser::Error>(&self) -> Result<(), E> {
        if self.is_postcard { Err(self.refuse(Refused::SkippedField)) } else { Ok(()) }
    }
}
