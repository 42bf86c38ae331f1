use std::{any::Any, fmt};

use bytes::Bytes;

use crate::timeout::Ttl;

/// Decoded values, which a store in the process keeps beside the bytes of its entries. See
/// [`Views::objects`](super::Views::objects).
///
/// An object belongs to the bytes of one write. It is dropped with them: when the entry is
/// replaced, removed or evicted, when it has expired and its memory is freed, and by `incr` and
/// `rename`. A `touch` keeps it. An object does not count for the bounds of the store, which cannot
/// know its size.
pub trait Objects: fmt::Debug + Send + Sync + 'static {
    /// Calls `read` with the object of the live entry of `key`, if it has one.
    fn read(&self, key: &str, read: &mut dyn FnMut(&Kept<'_>));

    /// Keeps an object beside the bytes of the live entry of `key`, unless it has one.
    ///
    /// `make` gets the bytes, and returns their object, or `None` to keep nothing. It is called
    /// without a lock: if the entry changes meanwhile, or a lock is taken, nothing is kept.
    fn keep(&self, key: &str, make: &mut dyn FnMut(Bytes) -> Option<Object>);
}

/// An object beside the bytes of an entry.
pub type Object = Box<dyn Any + Send + Sync>;

/// A live entry with its object, as [`Objects::read`] finds it.
#[non_exhaustive]
pub struct Kept<'a> {
    /// The object.
    pub object: &'a (dyn Any + Send + Sync),
    /// The stored bytes.
    pub value: &'a [u8],
    ttl: &'a dyn Fn() -> Ttl,
}

impl<'a> Kept<'a> {
    /// Creates it from its parts. `ttl` returns the remaining lifetime, for readers that need it.
    pub fn new(
        object: &'a (dyn Any + Send + Sync),
        value: &'a [u8],
        ttl: &'a dyn Fn() -> Ttl,
    ) -> Self {
        Self { object, value, ttl }
    }

    /// Returns the remaining lifetime of the entry.
    ///
    /// ```
    /// use cache_core::{Ttl, store::Kept};
    ///
    /// let kept = Kept::new(&7, b"7", &|| Ttl::Forever);
    /// assert_eq!(kept.ttl(), Ttl::Forever);
    /// assert_eq!(kept.object.downcast_ref(), Some(&7));
    /// ```
    pub fn ttl(&self) -> Ttl {
        (self.ttl)()
    }
}

/// Prints the length instead of the bytes, which may be a secret.
impl fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("len", &self.value.len()).finish_non_exhaustive()
    }
}
