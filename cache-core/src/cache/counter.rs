use super::{Cache, call_write, put_aside};
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    store::{CounterInit, integer},
    telemetry::stats::Outcome,
    timeout::IntoTimeout,
    value::Form,
};

/// Counts. An integer is decimal text within `i64`, with every codec. Every other value is
/// `NotAnInteger`.
impl<V: Form> Cache<V> {
    /// Adds `delta` to the integer under `key` in one step, and returns the new value. The entry
    /// keeps its lifetime.
    ///
    /// # Errors
    /// Never fails open. `KeyNotFound` if the key is missing, `NotAnInteger` if the value is not an
    /// integer or has tags, and `Overflow` if the result is outside `i64`. With these errors the
    /// value stays as it was. `Unsupported` if the handle [has tags](Self::with_tags). After
    /// `TimedOut` the call may have counted.
    ///
    /// # Cancel safety
    /// If the future is dropped, the call may have counted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, ErrorKind, Timeout}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.set("stock", &10, Timeout::Default).await?;
    /// assert_eq!(cache.incr("stock", 5).await?, 15);
    /// assert_eq!(cache.decr("stock", 20).await?, -5);
    /// assert_eq!(cache.incr("other", 1).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    /// # Ok(()) }
    /// ```
    pub async fn incr(&self, key: &str, delta: i64) -> Result<i64> {
        let mut key = self.key(Operation::Incr, key)?;
        self.incr_stored(&mut key, delta, None).await
    }

    /// Subtracts `delta` from the integer under `key`, as [`incr`](Self::incr) adds it.
    ///
    /// # Errors
    /// As [`incr`](Self::incr). Also `Overflow` if `delta` is `i64::MIN`, which has no negation.
    ///
    /// # Cancel safety
    /// If the future is dropped, the call may have counted.
    pub async fn decr(&self, key: &str, delta: i64) -> Result<i64> {
        let mut key = self.key(Operation::Incr, key)?;
        match delta.checked_neg() {
            Some(delta) => self.incr_stored(&mut key, delta, None).await,
            None => Err(self.fail(Operation::Incr, Some(&key), overflow())),
        }
    }

    /// Adds `delta` to the integer under `key`, or stores `initial + delta` if the key is missing.
    /// Returns the new value.
    ///
    /// This is the call for counters and rate limits. A new entry gets the lifetime `timeout` in
    /// the same step, so that a crash cannot leave a counter without a lifetime. An existing entry
    /// keeps its lifetime. With a lifetime of zero, the call does not create an entry.
    ///
    /// # Errors
    /// Never fails open: [`or_allow`](crate::OnOutage::or_allow) and
    /// [`or_deny`](crate::OnOutage::or_deny) define what a limit does while the store is down.
    /// `NotAnInteger` if the value is not an integer, and `Overflow` if the result is outside
    /// `i64`. With these errors the value stays as it was. After `TimedOut` the call may have
    /// counted.
    ///
    /// # Cancel safety
    /// If the future is dropped, the call may have counted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, OnOutage, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// for n in 1..=3 {
    ///     assert_eq!(cache.incr_or("requests:ada", 1, 0, secs(60)).await?, n);
    /// }
    /// let count = cache.incr_or("requests:ada", 1, 0, secs(60)).await;
    /// assert!(!count.map(|count| count <= 3).or_allow()?);
    /// # Ok(()) }
    /// ```
    pub async fn incr_or(
        &self,
        key: &str,
        delta: i64,
        initial: i64,
        timeout: impl IntoTimeout,
    ) -> Result<i64> {
        let expiry = self.expiry(timeout);
        let mut key = self.key(Operation::Incr, key)?;
        if let Some(expiry) = expiry {
            return self
                .incr_stored(&mut key, delta, Some(CounterInit::new(initial, expiry)))
                .await;
        }
        match self.incr_stored(&mut key, delta, None).await {
            Err(error) if error.kind() == ErrorKind::KeyNotFound => integer::add(initial, delta)
                .map_err(|error| self.in_context(error, Operation::Incr, Some(&key))),
            res => res,
        }
    }

    async fn incr_stored(
        &self,
        key: &mut FullKey,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<i64> {
        if self.tags.is_some() {
            return Err(self.fail(Operation::Incr, Some(key), no_tags()));
        }
        self.entered(Operation::Incr, key).await?;
        self.resolved(Operation::Incr, key).await?;
        let res: Result<Option<i64>> = if self.shared.fetch.has_entries {
            Box::pin(self.incr_entry(key, delta, create)).await
        } else {
            let writing = self.before_write(key).await;
            call_write!(self, writing, incr(key, delta, create))
        };
        match res {
            Ok(Some(new)) => {
                self.count(Operation::Incr, Outcome::Done);
                Ok(new)
            }
            Ok(None) => {
                self.count(Operation::Incr, Outcome::Miss);
                Err(self.key_not_found(Operation::Incr, key))
            }
            Err(error) => Err(self.fail(Operation::Incr, Some(key), error)),
        }
    }

    pub(super) fn key_not_found(&self, operation: Operation, key: &str) -> Error {
        let error = Error::new(ErrorKind::KeyNotFound, "the key does not exist or has expired");
        self.in_context(error, operation, Some(key))
    }
}

#[cold]
fn no_tags() -> Error {
    let what = "a counter has no tags, because every store counts in plain integers: count by a \
                handle without tags, and delete the counter by its key";
    Error::new(ErrorKind::Unsupported, what)
}

fn overflow() -> Error {
    Error::new(ErrorKind::Overflow, "the result is outside i64")
}
