use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cache_core::{Cache, Error, ErrorKind, Keyspace, Result, Ttl};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{
    decision::Decision,
    fields::Policy,
    gcra,
    rule::{Algorithm, RateLimit, nanos},
    sliding_window,
};
use crate::hex::hex;

/// The keys of all limiters of a cache: the name, the algorithm and its window, and the client.
const KEYS: Keyspace<(&str, Algorithm, u64, &str), ()> = Keyspace::new("rate-limit");

/// Decides by the state of a client and the time, and returns the new state of an allowed request.
type Check<S> = fn(&RateLimit, Option<S>, u64) -> (Option<S>, Decision);

/// A rate limit that the processes of a store share.
///
/// The constructors say what happens while the store is down:
/// [`allow_on_failure`](Self::allow_on_failure) for limits that protect the service from load, and
/// [`deny_on_failure`](Self::deny_on_failure) for limits whose absence does harm, as for passwords
/// and codes. Clones are cheap and share the limit.
///
/// The store may forget a count: if it evicts entries, is cleared, or restarts without its data.
/// Then the limit of the client begins again.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    cache: Cache,
    name: String,
    rule: RateLimit,
    allow_on_failure: bool,
    policy: Policy,
}

impl Limiter {
    /// Creates a limiter whose requests all pass while the store fails.
    ///
    /// `name` separates the limits of one cache, and clients see it in the `RateLimit` fields.
    ///
    /// # Errors
    /// `Config` if the window is zero, or if the name is empty or has other characters than those
    /// of printable ASCII.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_core::{Cache, ErrorKind, testing::{Fault, Faulty}};
    /// use cache_memory::Memory;
    /// use cache_tower::rate_limit::{Limiter, RateLimit};
    /// use std::time::Duration;
    ///
    /// let store = Faulty::new(Memory::new());
    /// let cache = Cache::builder(store.clone()).build("test")?;
    /// let rule = RateLimit::fixed_window(2, Duration::from_secs(60));
    /// let limiter = Limiter::allow_on_failure(&cache, "api", rule)?;
    /// assert_eq!(limiter.check("ada").await?.remaining, 1);
    /// assert!(limiter.check("ada").await?.allowed);
    /// let third = limiter.check("ada").await?;
    /// assert!(!third.allowed && third.retry_after <= Some(Duration::from_secs(60)));
    /// assert!(limiter.check("bob").await?.allowed);
    ///
    /// store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    /// assert!(limiter.check("ada").await?.allowed);
    /// # Ok(()) }
    /// ```
    pub fn allow_on_failure(cache: &Cache, name: &str, rule: RateLimit) -> Result<Self> {
        Self::new(cache, name, rule, true)
    }

    /// Creates a limiter whose requests are all refused while the store fails.
    ///
    /// # Errors
    /// As [`allow_on_failure`](Self::allow_on_failure).
    pub fn deny_on_failure(cache: &Cache, name: &str, rule: RateLimit) -> Result<Self> {
        Self::new(cache, name, rule, false)
    }

    fn new(cache: &Cache, name: &str, rule: RateLimit, allow_on_failure: bool) -> Result<Self> {
        let config =
            |what: &'static str| Error::new(ErrorKind::Config, what).with_context("limit", name);
        if rule.window.is_zero() {
            return Err(config("the window of a rate limit is zero: pass a duration"));
        }
        let policy = Policy::new(name, &rule).ok_or_else(|| {
            config(
                "the name of a rate limit is not printable ASCII: it is part of a response field",
            )
        })?;
        let (cache, name) = (cache.clone(), name.to_owned());
        Ok(Self(Arc::new(Inner { cache, name, rule, allow_on_failure, policy })))
    }

    /// Counts a request of the client `key`, and decides whether it may pass. A refused request
    /// does not use up the limit.
    ///
    /// The store contains only a hash of `key`, which may be an API key or an address.
    ///
    /// # Errors
    /// A store that fails (`Unavailable`, `TimedOut`, `Backend`) is not an error but a
    /// [`Decision`] with [`store_failed`](Decision::store_failed). Other kinds are mistakes and
    /// returned whatever the constructor chose: `InvalidKey` if the name is too long for a key,
    /// `Unsupported` if the handle of the cache has tags, `NotAnInteger` if another program writes
    /// to the keys.
    ///
    /// # Cancel safety
    /// If the future is dropped, the request may have been counted.
    pub async fn check(&self, key: &str) -> Result<Decision> {
        let rule = &self.0.rule;
        let res = match rule.algorithm {
            Algorithm::FixedWindow => self.check_fixed_window(key).await,
            Algorithm::SlidingWindow => self.check_by(key, sliding_window::check).await,
            Algorithm::Gcra => self.check_by(key, gcra::check).await,
        };
        match res {
            Err(error) if error.kind().fails_open() => {
                Ok(Decision::failed(self.0.allow_on_failure, rule.quota().0))
            }
            res => res,
        }
    }

    /// Forgets the requests of the client `key`, for example after a successful login. Returns
    /// whether there were any.
    ///
    /// # Errors
    /// Each error of the store: see [`Cache::delete`] of a [strict](Cache::strict) handle.
    ///
    /// # Cancel safety
    /// If the future is dropped, the requests may or may not be forgotten.
    pub async fn reset(&self, key: &str) -> Result<bool> {
        self.0.cache.strict().delete(&self.key(key)?).await
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    async fn check_fixed_window(&self, key: &str) -> Result<Decision> {
        let Inner { cache, rule, .. } = &*self.0;
        let key = self.key(key)?;
        let count = cache.incr_or(&key, 1, 0, rule.window).await?;
        let left = if count == 1 {
            rule.window
        } else {
            // The window is counted by the store. If only this call fails, the count still holds.
            match cache.strict().ttl(&key).await {
                Ok(Some(Ttl::Remaining(left))) => left,
                Ok(None) => Duration::ZERO,
                Ok(Some(Ttl::Forever)) | Err(_) => rule.window,
            }
        };
        let remaining = i64::from(rule.limit) - count;
        Ok(match u32::try_from(remaining) {
            Ok(remaining) => Decision::allow(rule.limit, remaining, left),
            Err(_) => Decision::refuse(rule.limit, left, left),
        })
    }

    /// Changes the state of a client by compare-and-set. A refused request writes nothing.
    async fn check_by<S>(&self, key: &str, check: Check<S>) -> Result<Decision>
    where
        S: Serialize + DeserializeOwned + Send,
    {
        let Inner { cache, rule, .. } = &*self.0;
        let key = self.key(key)?;
        let mut decision = Decision::failed(self.0.allow_on_failure, rule.quota().0);
        let change = |old| {
            // Read after the state, so that a wait for other callers does not count as passed.
            let since_1970 = cache.clock().wall().duration_since(SystemTime::UNIX_EPOCH);
            let state;
            (state, decision) = check(rule, old, nanos(since_1970.unwrap_or_default()));
            state
        };
        cache.upsert(&key, rule.lifetime(), change).await?;
        Ok(decision)
    }

    fn key(&self, client: &str) -> Result<String> {
        let Inner { name, rule, .. } = &*self.0;
        // Of a fixed length, and without the secrets that a client sends.
        let client = hex(&Sha256::digest(client));
        KEYS.key(&(name.as_str(), rule.algorithm, rule.window_nanos(), client.as_str()))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FixedWindow => "fixed",
            Self::SlidingWindow => "sliding",
            Self::Gcra => "gcra",
        })
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("cache", &self.0.cache)
            .field("name", &self.0.name)
            .field("rule", &self.0.rule)
            .field("allow_on_failure", &self.0.allow_on_failure)
            .finish_non_exhaustive()
    }
}
