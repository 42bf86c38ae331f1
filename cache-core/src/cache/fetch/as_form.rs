//! The forms in which a fetch returns its value.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    cache::Cache,
    error::Result,
    layer::Operation,
    value::{Decode, Form, Undecodable},
};

/// The form in which a fetch returns its value.
pub(crate) trait As<V: Form, T> {
    type Value;

    /// Returns a value that is kept in this form, if no call of the store is needed. Counts the
    /// hit.
    fn at_once(
        cache: &Cache<V>,
        key: &str,
        wants_age: bool,
    ) -> Option<(Self::Value, Option<Duration>)>;

    /// Reads the stored bytes of a key.
    fn open(cache: &Cache<V>, key: &str, stored: &Bytes) -> Result<Self::Value, Undecodable>;
}

/// The caller owns the value.
pub(crate) enum ByValue {}

/// The caller shares the value.
pub(crate) enum ByArc {}

impl<V: Decode<T>, T> As<V, T> for ByValue {
    type Value = T;

    #[inline]
    fn at_once(_: &Cache<V>, _: &str, _: bool) -> Option<(T, Option<Duration>)> {
        None
    }

    #[inline]
    fn open(cache: &Cache<V>, _: &str, stored: &Bytes) -> Result<T, Undecodable> {
        cache.open(stored)
    }
}

impl<V: Decode<T>, T: Send + Sync + 'static> As<V, T> for ByArc {
    type Value = Arc<T>;

    #[inline]
    fn at_once(cache: &Cache<V>, key: &str, wants_age: bool) -> Option<(Arc<T>, Option<Duration>)> {
        cache.shared_at_once(Operation::Fetch, key, wants_age)
    }

    fn open(cache: &Cache<V>, key: &str, stored: &Bytes) -> Result<Arc<T>, Undecodable> {
        cache.open_shared(key, stored)
    }
}
