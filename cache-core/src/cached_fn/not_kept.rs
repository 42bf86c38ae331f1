//! Results that are not kept, for the callers that waited for them.

use std::{any::Any, fmt, marker::PhantomData, sync::Arc};

use crate::error::Error;

/// The error of a load whose result is not kept. The caller that ran the function has the result;
/// the callers that waited for it get a copy if there is one.
pub(super) struct NotKept {
    copy: Option<Arc<dyn Any + Send + Sync>>,
    /// Whether the function returned an error. Otherwise, a stale value must not be served instead
    /// of the result.
    is_error: bool,
    /// Whether the result says that there is no value.
    pub(super) is_absent: bool,
}

/// How results of type `R` reach the callers that waited for them.
pub struct Share<R> {
    copy: fn(&R) -> Option<Arc<dyn Any + Send + Sync>>,
    take: fn(&(dyn Any + Send + Sync)) -> Option<R>,
}

/// The choice of a [`Share`]: the inherent method exists for results that are `Clone`, and
/// [`NotShared`] has the method for all others.
pub struct Sharing<R>(PhantomData<fn() -> R>);

/// The choice for results that are not `Clone`.
pub trait NotShared<R> {
    /// Returns that results are not shared.
    fn share(self) -> Share<R>;
}

impl<R> Sharing<R> {
    /// Begins the choice.
    #[expect(clippy::new_without_default, reason = "only for generated code")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Clone + Send + Sync + 'static> Sharing<R> {
    /// Returns that results are cloned.
    pub fn share(self) -> Share<R> {
        Share {
            copy: |result| Some(Arc::new(result.clone())),
            take: |copy| copy.downcast_ref::<R>().cloned(),
        }
    }
}

impl<R> NotShared<R> for Sharing<R> {
    fn share(self) -> Share<R> {
        Share { copy: |_| None, take: |_| None }
    }
}

impl NotKept {
    /// Makes the error for a result.
    pub(super) fn new<R>(result: &R, is_error: bool, is_absent: bool, share: &Share<R>) -> Self {
        // A result that says that there is no value needs no copy.
        let copy = if is_absent { None } else { (share.copy)(result) };
        Self { copy, is_error, is_absent }
    }

    /// Makes the error of a load without a result.
    pub(super) fn unknown() -> Self {
        Self { copy: None, is_error: true, is_absent: false }
    }

    /// Returns a copy of the result.
    pub(super) fn copy<R>(&self, share: &Share<R>) -> Option<R> {
        (share.take)(self.copy.as_deref()?)
    }
}

/// Returns whether a stale value must not be served in place of the failed load: the function has
/// returned another result, which is not kept.
pub(crate) fn hides_stale(error: &Error) -> bool {
    error.loader::<NotKept>().is_some_and(|it| !it.is_error)
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_error {
            "the function returned an error"
        } else {
            "the function returned a result that is not kept"
        })
    }
}

impl fmt::Debug for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotKept({self})")
    }
}

impl<R> Clone for Share<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Share<R> {}

impl<R> fmt::Debug for Share<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share")
    }
}

impl<R> fmt::Debug for Sharing<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sharing")
    }
}
