//! The calls of a [`Keyspace`](crate::Keyspace), whose values may have a codec and a grace of their
//! own.

use std::time::Duration;

use super::{Cache, ToWrite};
use crate::{
    error::Result,
    fetch::{NEEDS_REVISIONS, Overrides, Policy},
    layer::Operation,
    telemetry::stats::Outcome,
    timeout::{IntoTimeout, Timeout},
    value::{Codec, Encode, Form, envelope},
};

/// The reason why a setting of a keyspace is invalid for a cache, behind the name of the setting.
type Invalid = (&'static str, &'static str);

impl<V: Form> Cache<V> {
    /// Counts `keys` keys that were read through the keyspace of this label.
    pub(crate) fn count_keyspace(&self, label: &'static str, outcome: Outcome, keys: u64) {
        if keys > 0 {
            self.shared.counters.keyspace(label, outcome, keys);
            self.shared.observer.keyspace(label, outcome, keys);
        }
    }

    /// Checks that values of this codec can be written and read back.
    pub(crate) fn check_codec(&self, codec: Codec) -> Result<(), Invalid> {
        if !V::HAS_CODEC {
            return Err(("codec", "a handle of bytes has no codec: use the typed handle"));
        }
        if !self.shared.values.reads(codec) {
            let what = "the setting `read` of the cache does not list the codec, so the values \
                        could not be read back: add it to the list";
            return Err(("codec", what));
        }
        Ok(())
    }

    /// Checks that values with this lifetime can have this grace.
    pub(crate) fn check_grace(&self, ttl: Timeout, grace: Duration) -> Result<(), Invalid> {
        let overrides =
            Overrides { ttl, grace: Some(grace), codec: None, keyspace: None, force: false };
        let fetch = &self.shared.fetch;
        // The grace is the keyspace's own, also if the alias has the same.
        let inherited = Policy { grace: Duration::ZERO, ..*fetch.borrowed() };
        self.load_policy(&overrides).check(fetch.allowed(), &inherited)
    }

    /// Returns the policy of a load without a task.
    pub(super) fn load_policy(&self, overrides: &Overrides) -> Policy {
        let policy = *self.shared.fetch.borrowed();
        let Overrides { ttl, grace, codec, keyspace, force: _ } = *overrides;
        Policy { ttl, grace: grace.unwrap_or(policy.grace), codec, keyspace, ..policy }
    }

    /// Checks that values can have a revision.
    pub(crate) fn check_revision(&self) -> Result<(), Invalid> {
        let allowed = self.shared.fetch.allowed().revisions;
        if allowed { Ok(()) } else { Err(("revision", NEEDS_REVISIONS)) }
    }

    /// Returns what [`write_stored`](Self::write_stored) stores for a value.
    pub(crate) fn to_write<T: ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl IntoTimeout,
        codec: Option<Codec>,
        revision: Option<u64>,
    ) -> Result<ToWrite>
    where
        V: Encode<T>,
    {
        let expiry = self.expiry(timeout);
        let operation = if revision.is_some() { Operation::SetRevision } else { Operation::Set };
        let key = self.key(operation, key)?;
        let sealed = self.sealed(operation, &key, value, codec)?;
        let stored = expiry.map(|it| (envelope::at_revision(sealed, it, revision), it));
        Ok(ToWrite { key, stored, revision })
    }
}
