//! Namespaces: groups of keys that are cleared at once, because each key contains the version of a
//! marker, its generation.

use std::{sync::Arc, time::Duration};

use super::{BlockingCache, Cache, batch::Strings, enter_write, subspace::Subspace};
use crate::{
    consistency::markers::{MarkerPath, Version},
    error::{Error, ErrorKind, Result},
    key::{FullKey, KeyHead, marker::NamespacePath},
    layer::Operation,
    value::Form,
};

impl<V: Form> Cache<V> {
    /// Returns a handle to a namespace of this cache. Its keys are separate from all others of the
    /// cache, and [`clear`](Self::clear) of the handle makes all of them unusable at once, however
    /// many there are and on every store.
    ///
    /// All operations work in a namespace. Each key contains the *generation* of the namespace, a
    /// random number that `clear` replaces. This process remembers the generation for
    /// [`tag_staleness`](crate::CacheSettings::tag_staleness), so a hit costs no round trip more.
    /// Reads may use the old generation for this time after another process has cleared the
    /// namespace. Writes, deletes and counters read the generation first, which costs one round
    /// trip more: under the old one, a delete would miss the entry that other processes read.
    ///
    /// If the generation cannot be read, the call did not reach the store: reads are misses, a
    /// loaded value is not stored, and calls that never fail open return the error. If a `set` or
    /// `delete` fails open for this reason, the entry that it should have replaced is deleted when
    /// the store answers again, and reads of the key are misses until then. After more than 1,000
    /// such keys, their namespaces are cleared instead.
    ///
    /// A namespace can have namespaces in turn, which `clear` of the outer one includes. It has all
    /// versions of its keys. Its [locks](Self::lock) are its own, too, and a `clear` leaves them.
    ///
    /// # Errors
    /// `InvalidKey` if the name breaks the rules for keys, contains `~`, or is too long: the names
    /// of a namespace have 125 bytes, less the `key_prefix`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let users = cache.namespace("users")?;
    /// users.set("7", "Ada", secs(60)).await?;
    /// cache.set("7", "seven", secs(60)).await?;
    /// users.namespace("eu")?.set("8", "Bob", secs(60)).await?;
    ///
    /// users.clear().await?;
    /// assert_eq!(users.get::<String>("7").await?, None);
    /// assert_eq!(users.namespace("eu")?.get::<String>("8").await?, None);
    /// assert_eq!(cache.get::<String>("7").await?.as_deref(), Some("seven"));
    /// # Ok(()) }
    /// ```
    pub fn namespace(&self, name: &str) -> Result<Self> {
        let keys = &self.shared.namespace;
        let outer = self.subspace.as_deref();
        let subspace = NamespacePath::new(keys, outer.map(|it| &it.path), name).and_then(|path| {
            let own = self.shared.markers.marker(&path.marker(keys)?);
            let outer = outer.map_or(&[][..], |it| &it.markers);
            let markers = outer.iter().cloned().chain([own]).collect();
            Ok(Subspace { path, markers })
        });
        let subspace = subspace.map_err(|it| it.with_context("alias", self.alias()))?;
        let head = KeyHead::within(keys, &subspace.path, self.version);
        Ok(Self { head, subspace: Some(Arc::new(subspace)), ..self.clone() })
    }

    /// Returns the head of the keys of this handle under another version.
    pub(super) fn head_of(&self, version: i64) -> KeyHead {
        match &self.subspace {
            Some(it) => KeyHead::within(&self.shared.namespace, &it.path, version),
            None => KeyHead::new(&self.shared.namespace, version),
        }
    }

    /// Returns the head of the keys of locks.
    pub(super) fn head_of_locks(&self) -> KeyHead {
        let path = self.subspace.as_deref().map(|it| &it.path);
        KeyHead::of_locks(&self.shared.namespace, path, self.version)
    }

    /// Makes all entries of the namespace unusable.
    pub(super) async fn clear_subspace(&self, subspace: &Subspace) -> Result<()> {
        let own = subspace.markers.last().map(std::slice::from_ref);
        let res = self.replace_markers(own.unwrap_or_default()).await;
        self.answer(Operation::Clear, None, res)
    }

    /// Returns the generation of the namespace if it is remembered.
    #[inline]
    pub(super) fn known_generation(&self, subspace: &Subspace) -> Option<Version> {
        if !self.shared.markers.unentered.is_empty() {
            return None;
        }
        let mut versions = subspace.markers.iter().map(|it| self.known_version(it));
        let first = versions.next()??;
        versions.try_fold(first, |outer, it| it.map(|it| it.within(outer)))
    }

    /// Returns the generation of the namespace with these markers. Adds the tombstones of its keys
    /// that wait for the generation.
    pub(super) async fn generation(
        &self,
        markers: &MarkerPath,
        staleness: Duration,
    ) -> Result<Version> {
        let unentered = &self.shared.markers.unentered;
        let moment = unentered.moment(markers);
        let staleness = if moment.is_some() { Duration::ZERO } else { staleness };
        let generation = self.read_generation(markers, staleness).await?;
        if let Some(moment) = moment {
            let text = generation.text();
            // Ends the loads that began before the failed call.
            for key in unentered.entered(markers, moment, &text) {
                drop(self.before_write(&key).await);
            }
            unentered.enter(markers, moment, &text, |key| self.add_tombstone(key));
        }
        Ok(generation)
    }

    async fn read_generation(&self, markers: &MarkerPath, staleness: Duration) -> Result<Version> {
        let versions = self.versions_within(markers, staleness).await;
        let mut versions = versions.into_iter();
        let first = versions.next().unwrap_or_else(|| Ok(Version::random()));
        let res = versions.fold(first, |outer, it| Ok(it?.within(outer?)));
        // An unreadable value is a miss, and would be written under the unknown generation.
        res.map_err(|error| match error.kind() {
            it if it.is_unreadable() => Error::new(ErrorKind::Backend, error.message().to_owned()),
            _ => error,
        })
    }

    /// Writes the generation into a key: see the macro `enter`.
    pub(super) async fn enter(
        &self,
        subspace: &Subspace,
        key: &mut FullKey,
        staleness: Duration,
    ) -> Result<()> {
        let generation = self.generation(&subspace.markers, staleness).await?;
        self.head.put_generation(&generation.text(), key);
        Ok(())
    }

    /// Writes one generation into all keys of a batch of reads.
    pub(super) async fn enter_all(&self, keys: &mut Strings) -> Result<()> {
        let Some(subspace) = self.subspace.as_ref().filter(|_| !keys.is_empty()) else {
            return Ok(());
        };
        let generation = match self.known_generation(subspace) {
            Some(generation) => generation,
            None => Box::pin(self.generation(&subspace.markers, self.shared.tag_staleness)).await?,
        };
        keys.overwrite(self.head.generation_place(), &generation.text());
        Ok(())
    }

    /// Writes one generation into all keys of a batch of writes.
    pub(super) async fn enter_write_all(&self, keys: &mut Strings) -> Result<()> {
        let Some(subspace) = self.subspace.as_ref().filter(|_| !keys.is_empty()) else {
            return Ok(());
        };
        let generation = Box::pin(self.generation(&subspace.markers, Duration::ZERO)).await?;
        keys.overwrite(self.head.generation_place(), &generation.text());
        Ok(())
    }

    /// Writes the generation into the key of a call that never fails open.
    pub(super) async fn entered(&self, operation: Operation, key: &mut FullKey) -> Result<()> {
        enter_write!(self, key).map_err(|error| self.fail(operation, Some(key), error))
    }

    /// Handles a write or delete that could not read the generation. If it fails open, the entry
    /// that it should have replaced stays, and is deleted when the generation can be read.
    pub(super) async fn not_entered(&self, key: &str, error: &Error) {
        if self.hides(error)
            && let Some(subspace) = &self.subspace
        {
            self.add_unentered(&subspace.markers, key, self.head.generation_place());
        }
        // Ends the loads of callers that could not read the generation either.
        drop(self.before_write(key).await);
    }
}

impl<V: Form> BlockingCache<V> {
    /// Returns a handle to a namespace: see [`Cache::namespace`].
    ///
    /// # Errors
    /// As [`Cache::namespace`].
    pub fn namespace(&self, name: &str) -> Result<Self> {
        self.as_async().namespace(name).map(|it| it.blocking())
    }
}
