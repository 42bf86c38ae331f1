//! Answers of the caller for calls that never fail open.

use crate::error::Result;

/// An answer of the caller for the time that the store is down.
///
/// `add`, `replace`, `pop`, `update`, `upsert`, `incr` and `incr_or` never fail open, because an
/// invented answer would be a wrong count or a second winner. They return the error. With `?`, each
/// outage of the cache would be an outage of the service. The methods of this trait replace the
/// error by an answer of the caller. They replace only the kinds that [fail
/// open](crate::ErrorKind::fails_open) in other calls (`Unavailable`, `TimedOut`, `Backend`). Other
/// errors, for example of an invalid key, are still returned.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{Cache, ErrorKind, OnOutage, secs, testing::{Fault, Faulty}};
/// use cache_memory::Memory;
///
/// let store = Faulty::new(Memory::new());
/// let cache = Cache::builder(store.clone()).build("test")?;
///
/// // At most 5 logins a minute. During an outage every login is allowed.
/// let may_log_in =
///     async || cache.incr_or("logins:ada", 1, 0, secs(60)).await.map(|count| count <= 5).or_allow();
/// for _ in 0..5 {
///     assert!(may_log_in().await?);
/// }
/// assert!(!may_log_in().await?);
///
/// store.inject(|_| Fault::Error(ErrorKind::Unavailable));
/// assert!(may_log_in().await?);
/// // The same limit, but during an outage every login is refused.
/// let count = cache.incr_or("logins:ada", 1, 0, secs(60)).await;
/// assert!(!count.map(|count| count <= 5).or_deny()?);
/// // Any other answer.
/// assert_eq!(cache.incr_or("visits", 1, 0, secs(60)).await.on_outage(0)?, 0);
/// # Ok(()) }
/// ```
pub trait OnOutage: Sized {
    /// The type of the answer.
    type Answer;

    /// Returns `answer` if the store failed, and otherwise the result of the call.
    ///
    /// # Errors
    /// All errors except `Unavailable`, `TimedOut` and `Backend`.
    fn on_outage(self, answer: Self::Answer) -> Result<Self::Answer>;

    /// Returns `true` if the store failed: the limit allows the call, or a job may run twice.
    ///
    /// # Errors
    /// All errors except `Unavailable`, `TimedOut` and `Backend`.
    fn or_allow(self) -> Result<bool>
    where
        Self: OnOutage<Answer = bool>,
    {
        self.on_outage(true)
    }

    /// Returns `false` if the store failed: the limit refuses the call, or a job may not run.
    ///
    /// # Errors
    /// All errors except `Unavailable`, `TimedOut` and `Backend`.
    fn or_deny(self) -> Result<bool>
    where
        Self: OnOutage<Answer = bool>,
    {
        self.on_outage(false)
    }
}

impl<T> OnOutage for Result<T> {
    type Answer = T;

    fn on_outage(self, answer: T) -> Result<T> {
        match self {
            Err(error) if error.kind().fails_open() => Ok(answer),
            res => res,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn answer_replaces_only_store_errors() {
        for &kind in ErrorKind::ALL {
            let res = Err(Error::new(kind, "x")).on_outage(7);
            assert_eq!(res.is_ok_and(|it| it == 7), kind.fails_open(), "{kind}");
        }
        assert_eq!(Ok(1).on_outage(7).unwrap(), 1);
    }

    #[test]
    fn answer_of_the_store_is_kept() {
        let outage = || Err(Error::new(ErrorKind::TimedOut, "x"));
        assert!(outage().or_allow().unwrap() && !outage().or_deny().unwrap());
        assert!(!Ok(false).or_allow().unwrap() && Ok(true).or_deny().unwrap());
    }
}
