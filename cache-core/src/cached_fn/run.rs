//! One run of a function by one of its callers.

use super::{
    Kind, Share,
    kept::{Kept, Spare},
    not_kept::NotKept,
};
use crate::error::Result;

/// The function of a caller, and its result after it has run.
pub(super) struct Run<L, R, S> {
    load: Option<L>,
    /// A result that is not kept.
    result: Option<R>,
    /// A result that is kept, in case that it cannot be stored.
    spare: Option<Spare<S>>,
    share: Share<R>,
}

impl<L, R, S> Run<L, R, S> {
    pub(super) fn new(load: L, share: Share<R>) -> Self {
        Self { load: Some(load), result: None, spare: None, share }
    }

    /// Returns the function, for the first time.
    pub(super) fn begin(&mut self) -> Result<L, NotKept> {
        self.load.take().ok_or_else(NotKept::unknown)
    }

    /// Notes the result of the function. Returns what the facade stores.
    pub(super) fn end<K: Kind<R, Stored = S>>(
        &mut self,
        result: R,
        is_kept: impl FnOnce(&S) -> bool,
    ) -> Result<Kept<S>, NotKept> {
        let (result, is_error) = match K::keep(result) {
            Ok(stored) if is_kept(&stored) => {
                return Ok(self.spare.insert(Spare::new(stored)).kept());
            }
            Ok(stored) => (K::restore(stored), false),
            Err(result) => {
                let is_error = !K::is_absent(&result);
                (result, is_error)
            }
        };
        let error = NotKept::new(&result, is_error, K::is_absent(&result), &self.share);
        self.result = Some(result);
        Err(error)
    }

    /// Returns the result of a call whose facade has returned, or the function if it has to run.
    pub(super) fn finish<K: Kind<R, Stored = S>>(
        &mut self,
        res: Result<Option<Kept<S>>>,
    ) -> Result<R, L> {
        let shared = match res {
            Ok(Some(kept)) => kept.into_value().map(K::restore),
            Ok(None) => K::absent(),
            Err(error) => {
                let own = self.result.take();
                let own = own.or_else(|| self.spare.take()?.take().map(K::restore));
                own.or_else(|| {
                    let shared = error.loader::<NotKept>()?;
                    if shared.is_absent { K::absent() } else { shared.copy(&self.share) }
                })
            }
        };
        if let Some(result) = shared {
            // The function stays here: a refresh in the background may be about to run it.
            return Ok(result);
        }
        match self.load.take() {
            // The cache failed, or the result of another caller cannot be shared.
            Some(load) => Err(load),
            // panics: not reached, because a function that has run has left its result.
            None => panic!("a function with `#[cached]` has run without a result"),
        }
    }
}
