//! A result that is kept, on its way through the facade.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// A value that is stored as a `S`. If it cannot be stored, its [`Spare`] still has the value.
pub(super) enum Kept<S> {
    /// A value that was read.
    Read(S),
    /// A value that was loaded.
    Loaded(Spare<S>),
}

/// A second handle to a loaded value.
pub(super) struct Spare<S>(Arc<Mutex<Option<S>>>);

impl<S> Spare<S> {
    pub(super) fn new(value: S) -> Self {
        Self(Arc::new(Mutex::new(Some(value))))
    }

    pub(super) fn kept(&self) -> Kept<S> {
        Kept::Loaded(Self(Arc::clone(&self.0)))
    }

    /// Takes the value out, if no other handle has done so.
    pub(super) fn take(&self) -> Option<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S> Kept<S> {
    /// Returns the value.
    pub(super) fn into_value(self) -> Option<S> {
        match self {
            Self::Read(value) => Some(value),
            Self::Loaded(spare) => spare.take(),
        }
    }
}

impl<S: Serialize> Serialize for Kept<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        match self {
            Self::Read(value) => value.serialize(serializer),
            Self::Loaded(spare) => match &*spare.0.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(value) => value.serialize(serializer),
                None => Err(ser::Error::custom("the value was taken")),
            },
        }
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for Kept<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        S::deserialize(deserializer).map(Self::Read)
    }
}
