/// The format in which a cache writes values.
///
/// Each codec writes a top-level integer as plain decimal text, so that `incr` works on it. Values
/// that were written with another codec are still read.
///
/// A value reads back equal, as the type that wrote it. A value that would not read back is
/// refused, with an error of kind `Codec`:
///
/// - lists, maps, structs and variants with content that are nested deeper than 127 levels;
/// - `Some` of an empty value (`Some(None)`, `Some(())`): both formats write it as null, which
///   reads as `None`;
/// - in JSON: NaN and the infinities, and maps whose keys are neither strings nor numbers nor
///   variants without content.
///
/// The codecs cannot detect what serde itself cannot read. serde reads enums with `tag` or
/// `untagged`, and structs with `flatten`, through a buffer. That buffer has no `i128` and no
/// `u128`, and takes only strings as keys of JSON maps. A type that contains one of these inside
/// such an enum or struct is a miss on every read.
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
    /// [`set_bytes`](crate::Cache::set_bytes) stores bytes unchanged.
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
}
