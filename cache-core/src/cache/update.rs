use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, call, call_leader, call_write, put_aside};
use crate::{
    Error, ErrorKind, Expiry, IntoTimeout, Lifetime, Result, Seen, codec, flight::first,
    key::FullKey, layers::Operation,
};

/// The longest wait after the second conflict, and after any. It doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Changing what is there.
impl Cache {
    /// Changes a value: reads it, gives it to `change`, and stores the result if the entry is still as it was read; otherwise
    /// again from the start. The new value, or `None` if there was none to change. Never fails open.
    ///
    /// A missing key is left alone: `change` is not run, and nothing is stored. `change` cannot give up; to leave the value as it
    /// is, it returns what it was given, which renews the lifetime. It may run several times.
    ///
    /// The updates of one key in this process are made one after the other; after repeated conflicts with other processes the next try waits for a
    /// random, growing time. All of it together takes no longer than one call may (`deadline`, and `connect_deadline` where the store connects), however
    /// many callers there are: those that had no turn by then get `TimedOut`, which the circuit breaker does not count.
    ///
    /// A lifetime of zero removes the key. `TooLarge` if the store does not take the new
    /// value; the old one is gone then, as with [`set`](Self::set).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, Inline}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Inline::new(Memory::new()));
    /// cache.set("tags", &vec!["a".to_owned()], None).await?;
    /// let tags = cache
    ///     .update::<Vec<String>>("tags", None, |mut tags| {
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
        let expiry = self.expiry(timeout);
        let key = self.key(Operation::Update, key)?;
        let all = async {
            let lasts = self.shared.write_patience;
            let _turn = match &self.shared.sync {
                // What never waits conflicts with nobody for long.
                Some(_) => None,
                None => Some(self.shared.updates.take(&key, lasts, &self.shared.clock).await),
            };
            // The first conflict may be a single write: it is tried again at once.
            let mut longest = Duration::ZERO;
            loop {
                if let Some(new) = self.try_update(&key, expiry, &mut change).await? {
                    return Ok(new);
                }
                if self.shared.sync.is_none() && !longest.is_zero() {
                    self.shared.clock.sleep(part_of(longest)).await;
                }
                longest = (longest * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            }
        };
        if self.shared.sync.is_some() {
            return all.await;
        }
        let done = first(Box::pin(all), self.write_patience()).await;
        done.unwrap_or_else(|| Err(self.fail(Operation::Update, Some(&key), too_many())))
    }

    /// One try: the new value, or nothing if there was none to change; `None` after a conflict.
    async fn try_update<T>(
        &self,
        key: &FullKey,
        expiry: Option<Expiry>,
        change: &mut impl FnMut(T) -> T,
    ) -> Result<Option<Option<T>>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.settled(Operation::Update, key).await?;
        let writing = self.before_write(key).await;
        let stored: Result<Option<Bytes>> = call_leader!(self.get(key));
        let stored = match stored {
            Ok(Some(stored)) => stored,
            Err(error) if error.kind() == ErrorKind::Codec => {
                return self.no_bytes(Operation::Update, key, error).map(Some);
            }
            res => return self.found(Operation::Update, key, res.map(|_| None)).map(Some),
        };
        let old = match codec::decode(&stored) {
            Ok(old) => old,
            Err(why) => {
                self.undecodable::<T>(Operation::Update, key, &stored, why).await?;
                return Ok(Some(None));
            }
        };
        let (new, write) = {
            let new = change(old);
            let bytes = self.shared.codec.encode(&new);
            (new, bytes.map_err(|it| self.fail(Operation::Update, Some(key), it))?)
        };
        let seen = Seen::value(&stored);
        let res: Result<bool> = match expiry {
            Some(expiry) => {
                call_write!(self, writing, compare_and_set(key, seen, write, Lifetime::New(expiry)))
            }
            None => call_write!(self, writing, compare_and_delete(key, seen)),
        };
        if res.as_ref().is_err_and(|it| it.kind() == ErrorKind::TooLarge) {
            // Better nothing than the old value. If that fails, the caller has an error all the same.
            let _: Result<bool> = call!(self.compare_and_delete(key, Seen::value(&stored)));
        }
        if res.map_err(|it| self.fail(Operation::Update, Some(key), it))? {
            return self.found(Operation::Update, key, Ok(Some(new))).map(Some);
        }
        Ok(None)
    }
}

/// A random part, so that processes that met do not meet again.
fn part_of(longest: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cold]
fn too_many() -> Error {
    Error::new(
        ErrorKind::TimedOut,
        "too many callers update this key at the same time, or the store is slow; the update may have had its effect",
    )
    .ignored_by_breaker()
}
