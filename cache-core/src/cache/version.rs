use super::{Cache, call, call_leader, call_write, put_aside};
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    store::{Entry, Expected},
    telemetry::stats::Outcome,
    value::{Form, envelope, revision::Change},
};

/// Moves entries between versions.
impl<V: Form> Cache<V> {
    /// Moves the entry of `key` to the version `delta` above the version of this handle, and
    /// returns the new version. The entry keeps its value and its remaining lifetime, and
    /// overwrites an entry of the target version. This is for entries that replace others at a
    /// deploy.
    ///
    /// If one server holds both keys, the move is one step. Otherwise (memcached, a cluster) the
    /// target is written first, and a crash or a time-out between the steps may leave both entries.
    /// Each entry then lives until its lifetime ends, and a change of one entry does not change the
    /// other.
    ///
    /// # Errors
    /// Never fails open. `KeyNotFound` if the key is missing, and `Overflow` if the new version is
    /// outside `i64`.
    ///
    /// # Cancel safety
    /// If the future is dropped, the entry may be at the old version, at the new version, or, if
    /// the move is not one step, at both.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("k", "v", Timeout::Default).await?;
    /// assert_eq!(cache.incr_version("k", 1).await?, 2);
    /// assert!(!cache.has_key("k").await?);
    /// assert!(cache.at_version(2).has_key("k").await?);
    /// # Ok(()) }
    /// ```
    pub async fn incr_version(&self, key: &str, delta: i64) -> Result<i64> {
        self.move_to_version(key, self.version.checked_add(delta)).await
    }

    /// Moves the entry of `key` as [`incr_version`](Self::incr_version) does, to the version
    /// `delta` below the version of this handle.
    ///
    /// # Errors
    /// As [`incr_version`](Self::incr_version).
    ///
    /// # Cancel safety
    /// As [`incr_version`](Self::incr_version).
    pub async fn decr_version(&self, key: &str, delta: i64) -> Result<i64> {
        self.move_to_version(key, self.version.checked_sub(delta)).await
    }

    async fn move_to_version(&self, key: &str, version: Option<i64>) -> Result<i64> {
        let mut from = self.key(Operation::IncrVersion, key)?;
        let Some(version) = version else {
            let error = Error::new(ErrorKind::Overflow, "the version is outside i64");
            return Err(self.fail(Operation::IncrVersion, Some(&from), error));
        };
        let target = self.at_version(version);
        let mut to = target.key(Operation::IncrVersion, key)?;
        self.entered(Operation::IncrVersion, &mut from).await?;
        if self.subspace.is_some() {
            // The generation of `from`: an entry does not survive a `clear` by its move.
            target.head.put_generation(self.head.generation(&from), &mut to);
        }
        self.resolved(Operation::IncrVersion, &from).await?;
        self.resolved(Operation::IncrVersion, &to).await?;
        let has = if self.shared.fetch.has_entries {
            Box::pin(self.has_fresh(&from)).await
        } else if from == to {
            call_leader!(self.has(&from))
        } else {
            Ok(true)
        };
        let res: Result<bool> = if from == to || !matches!(has, Ok(true)) {
            has
        } else {
            self.move_entry(&from, &to).await
        };
        match res {
            Ok(true) => {
                self.count(Operation::IncrVersion, Outcome::Done);
                Ok(version)
            }
            Ok(false) => {
                self.count(Operation::IncrVersion, Outcome::Miss);
                Err(self.key_not_found(Operation::IncrVersion, &from))
            }
            Err(error) => Err(self.fail(Operation::IncrVersion, Some(&from), error)),
        }
    }

    async fn move_entry(&self, from: &FullKey, to: &FullKey) -> Result<bool> {
        let moved: Result<bool> = {
            // The write ends with the first of its two guards.
            let writing = self.before_write(from).await;
            let _target = self.before_write(to).await;
            call_write!(self, writing, rename(from, to))
        };
        if moved? {
            return Ok(!self.shared.fetch.has_entries || !self.moved_nothing(from, to).await?);
        }
        Ok(false)
    }

    /// Returns whether the moved entry has no value: another process replaced the value, after it
    /// was read here, by a lease or by a floor. The floor goes back.
    async fn moved_nothing(&self, from: &FullKey, to: &FullKey) -> Result<bool> {
        let entry: Result<Option<Entry>> = call_leader!(self.get_entry(to));
        let entry = match entry {
            Err(error) if error.kind().is_unreadable() => return Ok(false),
            entry => entry?.filter(|it| envelope::is_lease_or_floor(&it.value)),
        };
        let Some(entry) = entry else { return Ok(false) };
        if envelope::is_floor(&entry.value) {
            let floor = Change::store(entry.value.clone(), entry.ttl.as_expiry());
            self.apply(Operation::IncrVersion, from, &floor).await?;
        }
        let removed: Result<bool> = call!(self.compare_and_delete(to, Expected::entry(&entry)));
        removed.map(|_| true)
    }
}
