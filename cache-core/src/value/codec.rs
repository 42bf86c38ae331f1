/// The format in which a cache writes values.
///
/// Each codec writes a top-level integer as plain decimal text, so that `incr` works on it. Values
/// that were written with another codec are still read, unless the setting
/// [`read`](crate::CacheSettings::read) excludes it.
///
/// A value reads back equal, as the type that wrote it. A value that would not read back is
/// refused, with an error of kind `Codec`:
///
/// - lists, maps, structs and variants with content that are nested deeper than 127 levels;
/// - in JSON and `MessagePack`, `Some` of an empty value (`Some(None)`, `Some(())`): both formats
///   write it as null, which reads as `None`;
/// - in JSON: NaN and the infinities, and maps whose keys are neither strings nor numbers nor
///   variants without content;
/// - in postcard: structs with `flatten`, other lists and maps whose length is unknown beforehand,
///   structs of which `skip_serializing_if` left out a field, and over 65,536 items that take no
///   byte.
///
/// The codecs cannot detect what serde itself cannot read. serde reads enums with `tag` or
/// `untagged`, and structs with `flatten`, through a buffer. That buffer has no `i128` and no
/// `u128`, and takes only strings as keys of JSON maps. A type that contains one of these inside
/// such an enum or struct is a miss on every read. In postcard, each type that contains an enum
/// with `untagged` or `tag`, or a `serde_json::Value`, is a miss on every read.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// # use cache_core::{Cache, ErrorKind, Timeout}; use cache_memory::Memory;
/// # let cache = Cache::new("test", Memory::new());
/// let error = cache.set("rate", &f64::NAN, Timeout::Default).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Codec);
/// assert!(error.to_string().contains("JSON has no NaN"));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Plain JSON: other languages read it, and the store's own tools show it. Bytes (`Vec<u8>`,
    /// `Bytes`) become lists of numbers, which are about 3.6 times as long;
    /// [`Cache::bytes`](crate::Cache::bytes) stores bytes unchanged.
    ///
    /// `Some(None)` is refused because it reads back as `None`. This includes a field
    /// `Option<Option<T>>` with `skip_serializing_if`, which types of PATCH requests often have.
    /// Use an enum of three variants (absent, null, a value) instead.
    #[default]
    Json,
    /// MessagePack with named fields (feature `msgpack`): smaller and faster to read than JSON.
    /// Types that have a form of their own for text formats (addresses, UUIDs) are written in that
    /// form. `Bytes` become bytes, `Vec<u8>` a list of numbers.
    #[cfg(feature = "msgpack")]
    MsgPack,
    /// postcard (feature `postcard`): the smallest and fastest, because it writes neither the names
    /// nor the types of fields. Types that have a form of their own for binary formats (addresses,
    /// UUIDs) are written in that form.
    ///
    /// Only the type that wrote a value can read it: an array is not a `Vec`. After a change of the
    /// type (a field added, removed, moved, or of another type), old values are misses or *read as
    /// other values*. Change the keys with the type, by
    /// [`Keyspace::schema`](crate::Keyspace::schema) or the version of the keys.
    #[cfg(feature = "postcard")]
    Postcard,
}
