use std::time::Duration;

use crate::error::Error;

/// The result of a loader that can say more than a value, for
/// [`Fetch::outcome`](crate::Fetch::outcome).
///
/// A value is `value.into()`; an `Option` is a value or [`Absent`](Self::Absent).
///
/// ```
/// use cache_core::Loaded;
///
/// assert_eq!(Loaded::from(7), Loaded::Value(7));
/// assert_eq!(Loaded::<u8>::from(None), Loaded::Absent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loaded<T> {
    /// A value.
    Value(T),
    /// The source has no value. It is remembered for the fetch's
    /// [`negative_ttl`](crate::Fetch::negative_ttl).
    Absent,
    /// The stored value is still right, and gets a new lifetime. An error without a stored
    /// value: see
    /// [`LoadContext::stale`](crate::LoadContext::stale).
    NotModified,
}

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T> From<Option<T>> for Loaded<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

/// The result of a fetch, and how it came about: see [`Fetch::outcome`](crate::Fetch::outcome).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched<T> {
    /// The value; `None` if the source has none.
    pub value: Option<T>,
    /// How the value was found.
    pub outcome: FetchOutcome,
}

/// How a fetch found its value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FetchOutcome {
    /// The stored value was fresh.
    #[non_exhaustive]
    Hit {
        /// The time since the value was stored or touched, if the store knows: for values with a
        /// grace.
        age: Option<Duration>,
    },
    /// The stored value had expired, and was served within its grace.
    #[non_exhaustive]
    Stale {
        /// The time since the value was stored or touched.
        age: Option<Duration>,
        /// The reason why no fresh value was served.
        why: Staleness,
    },
    /// The value was loaded: by this caller, or by another caller for both.
    #[non_exhaustive]
    Loaded {
        /// How long this caller waited.
        took: Duration,
        /// Whether the store has taken the value, as far as this caller knows. `false` if nothing
        /// was to be stored, if the write failed, or if the key was written or deleted during the
        /// load; and for a value from the batch of another caller, such as `get_or_set_many`.
        stored: bool,
    },
    /// The source has no value: the loader said so, now or within the last `negative_ttl`.
    Absent,
    /// The store failed, so the value was loaded and not stored.
    #[non_exhaustive]
    MissByError {
        /// How long this caller waited.
        took: Duration,
    },
}

/// The reason why a stale value was served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Staleness {
    /// A refresh runs in the background, here or in another process.
    Refreshing,
    /// The load failed, or it failed within the last `backoff`, with this error.
    LoadFailed(Error),
    /// As many refreshes as the setting `max_refreshes` allows run already.
    TooManyRefreshes,
}
