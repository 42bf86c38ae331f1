use bytes::Bytes;

use super::{Cache, call, call_leader, call_write, put_aside};
use crate::{
    error::{ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    store::{Entry, Expected, SetMode, TtlUpdate},
    telemetry::stats::Outcome,
    timeout::{Expiry, IntoTimeout},
    value::{Decode, Encode, Form, envelope},
};

/// Changes and creates entries.
impl<V: Form> Cache<V> {
    /// Changes a value: reads it, calls `change` with it, and stores the result if the entry has
    /// not changed since the read. Otherwise the call starts again. Returns the new value, or
    /// `None` if the key is missing.
    ///
    /// A missing key stays missing: `change` is not called, and nothing is stored. `change` may run
    /// several times, and it cannot cancel the update. [`upsert`](Self::upsert) can create missing
    /// keys and cancel. In all other respects (lifetimes, deadline) this call works like `upsert`.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("tags", &vec!["a".to_owned()], Timeout::Default).await?;
    /// let tags = cache
    ///     .update::<Vec<String>>("tags", Timeout::Default, |mut tags| {
    ///         tags.push("b".into());
    ///         tags
    ///     })
    ///     .await?;
    /// assert_eq!(tags, Some(vec!["a".into(), "b".into()]));
    /// # Ok(()) }
    /// ```
    pub async fn update<T>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        mut change: impl FnMut(T) -> T,
    ) -> Result<Option<T>>
    where
        V: Encode<T> + Decode<T>,
    {
        self.upsert(key, timeout, |old: Option<T>| old.map(&mut change)).await
    }

    /// Changes or creates a value: calls `change` with the value, or with `None` if the key is
    /// missing, and stores the result if the entry has not changed since the read. Otherwise the
    /// call starts again.
    ///
    /// Returns the stored value. If `change` returns `None`, the call stores nothing, the entry
    /// keeps its lifetime, and the call returns `None`. If several callers create a missing key,
    /// exactly one of them stores its value, and the others change this value. `change` may run
    /// several times, so it should only compute.
    ///
    /// Changes of one key in this process run one after the other. After repeated conflicts with
    /// other processes, the next try waits for a random, growing time. No try begins after the time
    /// limit of one call (`deadline`, plus `connect_deadline` if the store connects), however
    /// many callers there are. Each call of the store has its own deadline.
    ///
    /// A lifetime of zero removes an existing key and does not create a missing one. Bytes that do
    /// not decode as a `T` count as missing, and the new value replaces them.
    ///
    /// # Errors
    /// Never fails open. `TimedOut` also if the key had no turn within the deadline. The circuit
    /// breaker does not count this case. `TooLarge` if the new value is larger than the store
    /// accepts. The old value is then deleted, as with [`set`](Self::set). `Codec` if the new value
    /// cannot be serialized or could not be read back (the old value stays), and in
    /// [strict](Self::strict) mode if the old value does not decode. `WrongType` in strict mode, or
    /// when `change` returns a value, if the key holds a value of another program that is not a
    /// byte string.
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all. The next caller
    /// that waits for the key continues at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// // Two seats at first; `None` when there are none left.
    /// let take_seat = |seats: Option<u32>| seats.unwrap_or(2).checked_sub(1);
    /// assert_eq!(cache.upsert("seats", secs(3600), take_seat).await?, Some(1));
    /// assert_eq!(cache.upsert("seats", secs(3600), take_seat).await?, Some(0));
    /// assert_eq!(cache.upsert("seats", secs(3600), take_seat).await?, None);
    /// assert_eq!(cache.get::<u32>("seats").await?, Some(0), "it stays as it was");
    /// # Ok(()) }
    /// ```
    pub async fn upsert<T>(
        &self,
        key: &str,
        timeout: impl IntoTimeout,
        mut change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<T>>
    where
        V: Encode<T> + Decode<T>,
    {
        let expiry = self.expiry(timeout);
        let mut key = self.key(Operation::Update, key)?;
        self.entered(Operation::Update, &mut key).await?;
        // A store that never waits can retry a conflict at once.
        if self.shared.sync.is_some() {
            loop {
                if let Some(new) = self.try_upsert(&key, expiry, &mut change).await? {
                    return Ok(new);
                }
            }
        }
        let tries = async {
            let fail = |error| self.fail(Operation::Update, Some(&key), error);
            let mut tries = self.turn(&key).await.map_err(fail)?;
            loop {
                tries.begin().map_err(fail)?;
                if let Some(new) = self.try_upsert(&key, expiry, &mut change).await? {
                    return Ok(new);
                }
                tries.wait().await;
            }
        };
        Box::pin(tries).await
    }

    /// Runs one try. Returns the new value, `Some(None)` if `change` returned `None`, and `None`
    /// after a conflict.
    async fn try_upsert<T>(
        &self,
        key: &FullKey,
        expiry: Option<Expiry>,
        change: &mut impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<Option<T>>>
    where
        V: Encode<T> + Decode<T>,
    {
        self.resolved(Operation::Update, key).await?;
        // Before the read of the old value, of which the new one is made.
        let own = self.own_tags().await;
        let own = own.map_err(|it| self.fail(Operation::Update, Some(key), it))?;
        let writing = self.before_write(key).await;
        // A value past its timeout is replaced like bytes that do not decode.
        let (stored, fresh) = if self.shared.fetch.has_entries {
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            let stored = entry.clone().map(|it| it.map(|it| it.value));
            let fresh = match entry {
                Ok(entry) => self.fresh(entry).await,
                Err(error) => Err(error),
            };
            (fresh.clone().and(stored), fresh)
        } else {
            let stored: Result<Option<Bytes>> = call_leader!(self.get(key));
            (stored.clone(), stored)
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) if error.kind().is_unreadable() => {
                self.no_bytes::<T>(Operation::Update, key, error.clone())?;
                // The value cannot be compared, so it cannot be replaced without the risk of a lost
                // write.
                return match change(None) {
                    None => Ok(Some(None)),
                    Some(_) => Err(self.in_context(error, Operation::Update, Some(key))),
                };
            }
            Err(error) => return Err(self.fail(Operation::Update, Some(key), error)),
        };
        let old = match &fresh {
            Ok(None) | Err(_) => None,
            Ok(Some(stored)) => match self.open(stored) {
                Ok(old) => Some(old),
                Err(why) => {
                    if self.strict {
                        self.count(Operation::Update, Outcome::Miss);
                    }
                    self.undecodable::<T>(Operation::Update, key, stored, why).await?;
                    None
                }
            },
        };
        let is_hit = old.is_some();
        let outcome = if is_hit { Outcome::Hit } else { Outcome::Miss };
        let Some(new) = change(old) else {
            self.count(Operation::Update, outcome);
            return Ok(Some(None));
        };
        let write = self.seal(&new, None);
        // The new value depends on all that the old one depends on.
        let old = if is_hit { stored.as_ref().map(envelope::tags) } else { None };
        let write = write.and_then(|it| Self::with_tags_of_old(it, own.as_ref(), old.as_ref()));
        let write = write.map_err(|it| self.fail(Operation::Update, Some(key), it))?;
        let res: Result<bool> = match (&stored, expiry) {
            (None, None) => Ok(true),
            (None, Some(expiry)) => {
                call_write!(self, writing, set(key, write, expiry, SetMode::IfAbsent))
            }
            (Some(stored), Some(expiry)) => {
                let seen = Expected::value(stored);
                call_write!(
                    self,
                    writing,
                    compare_and_set(key, seen, write, TtlUpdate::New(expiry))
                )
            }
            (Some(stored), None) => {
                call_write!(self, writing, compare_and_delete(key, Expected::value(stored)))
            }
        };
        if let Some(stored) = &stored
            && res.as_ref().is_err_and(|it| it.kind() == ErrorKind::TooLarge)
        {
            // A missing value is better than the old one. If the removal fails, the caller still
            // gets the error.
            let _: Result<bool> = call!(self.compare_and_delete(key, Expected::value(stored)));
        }
        if res.map_err(|it| self.fail(Operation::Update, Some(key), it))? {
            self.count(Operation::Update, outcome);
            return Ok(Some(Some(new)));
        }
        Ok(None)
    }
}
