//! A loader's own error inside of an [`Error`](super::Error).

use std::{any::Any, fmt, sync::Arc};

/// A [`LoaderError`] of any type.
pub(super) trait FromLoader: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn as_error(&self) -> &(dyn std::error::Error + 'static);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<E: fmt::Display + fmt::Debug + Send + Sync + 'static> FromLoader for LoaderError<E> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_error(&self) -> &(dyn std::error::Error + 'static) {
        self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Wraps the error of a loader as a [`std::error::Error`], because loaders may return types that do
/// not implement this trait, such as `anyhow::Error` and `String`.
pub(super) struct LoaderError<E>(pub(super) E);

impl<E: fmt::Display> fmt::Display for LoaderError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug> fmt::Debug for LoaderError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for LoaderError<E> {}
