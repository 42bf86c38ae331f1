use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;

use super::Cache;
use crate::{
    error::Result,
    value::{Codec, Decode, Encode, Form, Undecodable},
};

/// Values: typed, or bytes.
impl<V: Form> Cache<V> {
    /// Returns a handle to the same cache whose values are bytes, without a codec: for protobuf,
    /// images, and bytes that are already serialized. It has all operations.
    ///
    /// Values are read as [`Bytes`]. Values to write are `Bytes`, or byte strings and texts, which
    /// are copied once. They are read back unchanged. They are also stored unchanged, except that
    /// an alias with compression compresses them, a [`fetch`](Self::fetch) with a grace stores them
    /// in an entry, and bytes that begin with `C1 CA` get a header. The value of a typed handle is
    /// read in the form in which its codec wrote it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// use bytes::Bytes;
    ///
    /// # let cache = Cache::new("test", Memory::new());
    /// let images = cache.bytes();
    /// images.set("pixel", b"\x00\xff", secs(60)).await?;
    /// assert_eq!(images.get("pixel").await?.as_deref(), Some(&b"\x00\xff"[..]));
    ///
    /// let draw = || async { Bytes::from_static(b"GIF89a") };
    /// assert_eq!(images.get_or_set("logo", secs(60), draw).await?, b"GIF89a"[..]);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn bytes(&self) -> Cache<Bytes> {
        self.in_form()
    }

    /// Returns a handle to the same cache with values of another form.
    pub(super) fn in_form<W: Form>(&self) -> Cache<W> {
        Cache {
            shared: Arc::clone(&self.shared),
            head: self.head.clone(),
            version: self.version,
            subspace: self.subspace.clone(),
            strict: self.strict,
            on_own_runtime: self.on_own_runtime,
            tags: self.tags.clone(),
            form: PhantomData,
        }
    }

    /// Returns the bytes that the store keeps for a value. `codec` replaces the codec of the alias.
    #[inline]
    pub(super) fn seal<T: ?Sized>(&self, value: &T, codec: Option<Codec>) -> Result<Bytes>
    where
        V: Encode<T>,
    {
        V::seal(value, &self.shared.values, codec)
    }

    /// Reads the bytes that the store keeps as a value.
    #[inline]
    pub(super) fn open<T>(&self, stored: &Bytes) -> Result<T, Undecodable>
    where
        V: Decode<T>,
    {
        V::open(stored, &self.shared.values)
    }
}
