use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    layer::InMemory,
    store::{Kept, Objects, Views},
    value::{
        Form,
        envelope::{Tags, Terms},
    },
};

/// The decoded values of an alias.
pub(super) struct KeptObjects {
    pub(super) store: Arc<dyn Objects>,
    /// The number of the alias. Another one may have other codecs, and not read the same bytes.
    pub(super) alias: u64,
}

/// A decoded value, with the parts of its entry that each read checks.
pub(super) struct Decoded<V, T> {
    pub(super) value: Arc<T>,
    pub(super) alias: u64,
    /// The bytes of the value, without the header of its entry.
    pub(super) stored: Bytes,
    pub(super) terms: Terms,
    pub(super) tags: Tags,
    pub(super) form: PhantomData<fn() -> V>,
}

impl KeptObjects {
    /// Returns the decoded values of memory in front of a store, or of a store in the process.
    pub(super) fn of(in_memory: Option<&InMemory>, views: &Views) -> Option<Self> {
        static ALIASES: AtomicU64 = AtomicU64::new(0);
        let store = match in_memory {
            Some(in_memory) => in_memory.objects(),
            None => views.objects.clone().filter(|_| views.sync.is_some())?,
        };
        Some(Self { store, alias: ALIASES.fetch_add(1, Ordering::Relaxed) })
    }

    /// Returns the decoded value of an entry, if it is of this type and of this alias.
    pub(super) fn decoded<'a, V, T>(&self, kept: &Kept<'a>) -> Option<&'a Decoded<V, T>>
    where
        V: Form,
        T: Send + Sync + 'static,
    {
        let decoded = kept.object.downcast_ref::<Decoded<V, T>>()?;
        (decoded.alias == self.alias).then_some(decoded)
    }
}
