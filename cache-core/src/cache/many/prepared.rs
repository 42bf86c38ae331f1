//! A batch of values in their stored form.

use bytes::Bytes;

use crate::{
    cache::{Cache, batch::Strings},
    error::Result,
    layer::Operation,
    telemetry::observer::{Direction, Size},
    timeout::{Expiry, IntoTimeout},
    value::{Codec, Encode, Form, envelope, revision::Change},
};

/// A serialized batch, in the order of the caller.
pub(crate) struct WriteMany {
    /// The callers' keys.
    pub(super) names: Strings,
    /// The stored keys.
    pub(super) keys: Strings,
    pub(super) values: Vec<Bytes>,
    pub(super) expiry: Option<Expiry>,
    /// The revisions of the values, if they have some.
    pub(super) revisions: Option<Vec<u64>>,
}

impl WriteMany {
    /// Returns the stored key, the caller's key and the change of each item with a revision.
    pub(in crate::cache) fn changes(&self) -> impl Iterator<Item = (&str, &str, Change)> {
        let keys = self.keys.iter().zip(self.names.iter());
        let revisions = self.revisions.iter().flatten();
        keys.zip(&self.values).zip(revisions).map(|(((key, name), value), revision)| {
            let new = self.expiry.map(|expiry| (value.clone(), expiry));
            (key, name, Change { new, revision: Some(*revision) })
        })
    }
}

impl<V: Form> Cache<V> {
    /// Returns what [`write_many`](Self::write_many) stores for these items. `codec` replaces the
    /// codec of the alias. `revision` returns the revision of a value.
    pub(crate) fn to_write_many<K, T>(
        &self,
        items: impl IntoIterator<Item = (K, T)>,
        timeout: impl IntoTimeout,
        codec: Option<Codec>,
        revision: Option<&impl Fn(&T) -> u64>,
    ) -> Result<WriteMany>
    where
        K: AsRef<str>,
        V: Encode<T>,
    {
        let items = items.into_iter();
        let count = items.size_hint().0;
        let mut res = WriteMany {
            names: Strings::with_capacity(count),
            keys: Strings::with_capacity(count),
            values: Vec::new(),
            expiry: self.expiry(timeout),
            revisions: revision.is_some().then(Vec::new),
        };
        for (name, value) in items {
            let name = name.as_ref();
            self.push_key(Operation::SetMany, name, &mut res.keys)?;
            let revision = revision.map(|of| of(&value));
            let value = self.seal(&value, codec);
            let value = value.map_err(|it| {
                let key = self.key(Operation::SetMany, name).ok();
                self.fail(Operation::SetMany, key.as_deref(), it)
            })?;
            self.shared.observer.bytes(Direction::Written, Size::of(&value));
            res.names.push(name);
            res.values.push(envelope::at_revision(value, res.expiry, revision));
            if let (Some(revisions), Some(revision)) = (&mut res.revisions, revision) {
                revisions.push(revision);
            }
        }
        Ok(res)
    }
}
