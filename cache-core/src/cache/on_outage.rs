//! What a caller wants to go on with when a call that never invents an answer finds its store failing.

use crate::error::Result;

/// An answer of the caller's own for the time that the store is down.
///
/// `add`, `replace`, `pop`, `update`, `upsert`, `incr` and `incr_or` never fail open: an invented answer would be a wrong count or a second
/// winner. They return the error, and `?` would make each outage of the cache an outage of the service. These methods put
/// the caller's choice in the place of that error. They replace the kinds that
/// [fail open](crate::ErrorKind::fails_open) elsewhere (`Unavailable`, `TimedOut`, `Backend`) and no other: a key that breaks the rules
/// is still an error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{Cache, ErrorKind, OnOutage, secs, store::Inline, testing::{Fault, Faulty}};
/// use cache_memory::Memory;
/// use std::sync::Arc;
///
/// let store = Faulty::new(Arc::new(Inline::new(Memory::new())));
/// let cache = Cache::builder(Arc::new(store.clone())).build("test")?;
///
/// // At most 5 logins a minute; everyone may log in while nobody can count.
/// let may_log_in =
///     async || cache.incr_or("logins:ada", 1, 0, secs(60)).await.map(|count| count <= 5).or_allow();
/// for _ in 0..5 {
///     assert!(may_log_in().await?);
/// }
/// assert!(!may_log_in().await?);
///
/// store.inject(|_| Fault::Error(ErrorKind::Unavailable));
/// assert!(may_log_in().await?);
/// // The same limit, closed: nobody gets in.
/// let count = cache.incr_or("logins:ada", 1, 0, secs(60)).await;
/// assert!(!count.map(|count| count <= 5).or_deny()?);
/// // Any other answer.
/// assert_eq!(cache.incr_or("visits", 1, 0, secs(60)).await.on_outage(0)?, 0);
/// # Ok(()) }
/// ```
pub trait OnOutage: Sized {
    /// What the call answers.
    type Answer;

    /// `answer` if the store failed; otherwise what the call returned.
    fn on_outage(self, answer: Self::Answer) -> Result<Self::Answer>;

    /// `true` if the store failed: a limit that is open then, a job that is done rather twice than never.
    fn or_allow(self) -> Result<bool>
    where
        Self: OnOutage<Answer = bool>,
    {
        self.on_outage(true)
    }

    /// `false` if the store failed: a limit that is closed then, a job that is done rather never than twice.
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
    fn answer_replaces_errors_of_the_store_and_no_other() {
        for &kind in ErrorKind::ALL {
            let res = Err(Error::new(kind, "x")).on_outage(7);
            assert_eq!(res.is_ok_and(|it| it == 7), kind.fails_open(), "{kind}");
        }
        assert_eq!(Ok(1).on_outage(7).unwrap(), 1);
    }

    #[test]
    fn answer_of_the_store_counts_when_there_is_one() {
        let outage = || Err(Error::new(ErrorKind::TimedOut, "x"));
        assert!(outage().or_allow().unwrap() && !outage().or_deny().unwrap());
        assert!(!Ok(false).or_allow().unwrap() && Ok(true).or_deny().unwrap());
    }
}
