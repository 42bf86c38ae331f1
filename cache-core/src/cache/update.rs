use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, call, call_leader, call_write, put_aside};
use crate::{
    error::{Error, ErrorKind, Result},
    key::FullKey,
    layer::Operation,
    runtime::{first, jitter},
    store::{Expected, SetMode, TtlUpdate},
    telemetry::stats::Outcome,
    timeout::{Expiry, IntoTimeout},
    value,
};

/// The longest wait after the second conflict, and after any. It doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Changing what is there, or making it.
impl Cache {
    /// Changes a value: reads it, gives it to `change`, and stores the result if the entry is still as it was read; otherwise
    /// again from the start. The new value, or `None` if there was none to change. Never fails open.
    ///
    /// A missing key is left alone: `change` is not run, and nothing is stored. `change` cannot give up: [`upsert`](Self::upsert)
    /// can, and makes missing keys. `change` may run several times. In all else this is an `upsert`, with its errors, its
    /// deadline, and what it says of lifetimes and dropped futures.
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
        T: Serialize + DeserializeOwned,
    {
        self.upsert(key, timeout, |old: Option<T>| old.map(&mut change)).await
    }

    /// Changes a value or makes it, or leaves the key as it is: gives `change` the value, or `None` if the key is missing, and
    /// stores the result if the entry is still as it was read; otherwise again from the start.
    ///
    /// Returns the value that was stored. When `change` returns `None`, nothing is stored, the entry keeps its lifetime, and the
    /// answer is `None`. Of several callers that make a missing key exactly one stores what it made; the others are given its value
    /// to change. `change` may run several times, so it should do nothing but compute.
    ///
    /// The changes of one key in this process are made one after the other; after repeated conflicts with other processes the
    /// next try waits for a random, growing time. No try begins later than one call may take (`deadline`, and `connect_deadline`
    /// where the store connects), however many callers there are. Each call to the store then has its own deadline.
    ///
    /// A lifetime of zero removes a key that is there and makes none. Bytes that do not decode as a `T` count as missing, and the
    /// new value replaces them.
    ///
    /// # Errors
    /// Never fails open. `TimedOut` also if the key had no turn within the deadline, which the circuit breaker does not count.
    /// `TooLarge` if the store does not take the new value; the old one is gone then, as with [`set`](Self::set). `Codec` if the
    /// new value could not be read back (the old one stays), if what is there is another program's and no bytes, and in strict
    /// mode if it does not decode.
    ///
    /// # Cancel safety
    /// A dropped future stores nothing, or the new value as a whole. The next caller of the key goes on at once.
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
        T: Serialize + DeserializeOwned,
    {
        let expiry = self.expiry(timeout);
        let key = self.key(Operation::Update, key)?;
        // A store that never waits resolves a conflict at once.
        if self.shared.sync.is_some() {
            loop {
                if let Some(new) = self.try_upsert(&key, expiry, &mut change).await? {
                    return Ok(new);
                }
            }
        }
        let tries = async {
            let clock = &self.shared.clock;
            let end = clock.now().saturating_add(self.shared.write_patience);
            let too_many = || self.fail(Operation::Update, Some(&key), too_many());
            let turn = self.shared.updates.take(&key, end, self.shortest_turn(), clock);
            let turn = first(turn, clock.sleep(self.shared.write_patience)).await;
            let _turn = turn.ok_or_else(too_many)?;
            // The first conflict may be a single write: it is tried again at once.
            let mut longest = Duration::ZERO;
            loop {
                if clock.now() >= end {
                    return Err(too_many());
                }
                // Not cut off at `end`: each call has the deadline of its own, which the circuit breaker counts.
                if let Some(new) = self.try_upsert(&key, expiry, &mut change).await? {
                    return Ok(new);
                }
                let left = end.saturating_sub(clock.now());
                if !longest.is_zero() && !left.is_zero() {
                    clock.sleep(jitter(longest).min(left)).await;
                }
                longest = (longest * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            }
        };
        Box::pin(tries).await
    }

    /// A try that begins shortly before its caller's time is over is not disturbed by the next caller at once.
    fn shortest_turn(&self) -> Duration {
        self.shared.write_patience / 4
    }

    /// One try: the new value, or nothing if `change` made none; `None` after a conflict.
    async fn try_upsert<T>(
        &self,
        key: &FullKey,
        expiry: Option<Expiry>,
        change: &mut impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<Option<T>>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.resolved(Operation::Update, key).await?;
        let writing = self.before_write(key).await;
        let stored: Result<Option<Bytes>> = call_leader!(self.get(key));
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) if error.kind().is_unreadable() => {
                self.no_bytes::<T>(Operation::Update, key, error.clone())?;
                // It cannot be compared, so neither can it be replaced without the danger of a lost write.
                return match change(None) {
                    None => Ok(Some(None)),
                    Some(_) => Err(self.in_context(error, Operation::Update, Some(key))),
                };
            }
            Err(error) => return Err(self.fail(Operation::Update, Some(key), error)),
        };
        let old = match &stored {
            None => None,
            Some(stored) => match value::open(stored) {
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
        let outcome = if old.is_some() { Outcome::Hit } else { Outcome::Miss };
        let Some(new) = change(old) else {
            self.count(Operation::Update, outcome);
            return Ok(Some(None));
        };
        let write = value::seal(&new, self.shared.codec);
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
            // Better nothing than the old value. If that fails, the caller has an error all the same.
            let _: Result<bool> = call!(self.compare_and_delete(key, Expected::value(stored)));
        }
        if res.map_err(|it| self.fail(Operation::Update, Some(key), it))? {
            self.count(Operation::Update, outcome);
            return Ok(Some(Some(new)));
        }
        Ok(None)
    }
}

#[cold]
fn too_many() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "too many callers update this key at the same time, or the store is slow; nothing was stored",
    )
    .ignored_by_breaker()
}
