//! Compression of payloads: only from a size on, and only if it saves enough.

use bytes::Bytes;

use super::{
    header::{self, COMPRESSED_HEAD, Format, Method, split_compressed},
    undecodable::Undecodable,
};

/// The compression of values: see
/// [`CacheSettings::compression`](crate::CacheSettings::compression).
///
/// ```
/// use cache_core::{Cache, Compression, secs};
/// use cache_memory::Memory;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// let cache = Cache::builder(Memory::new()).compression(Compression::Lz4).build("pages")?;
/// cache.set("page", &"<td></td>".repeat(1000), secs(60)).await?;
/// assert_eq!(cache.get::<String>("page").await?.unwrap().len(), 9000);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Values are stored as the codec wrote them.
    #[default]
    None,
    /// LZ4 (feature `lz4`): fast.
    #[cfg(feature = "lz4")]
    Lz4,
    /// Zstandard (feature `zstd`, which compiles C): slower than LZ4, and the values are smaller.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// The size from which values are compressed, if the settings do not tell.
pub(crate) const DEFAULT_FROM: u64 = 1024;

/// The largest compressed value, if the store has no limit that is known beforehand.
const MAX_LEN: usize = 512 << 20;

/// The level of Zstandard: the fastest, because a cache compresses often.
#[cfg(feature = "zstd")]
const LEVEL: i32 = 1;

/// The way in which the values of one alias are compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compressor {
    compression: Compression,
    from: usize,
    /// The largest uncompressed payload that is written or read.
    max_len: usize,
}

impl Compressor {
    /// Creates the compression of a store whose values have at most `max_len` bytes. It compresses
    /// values of `from` bytes and more.
    pub(crate) fn new(compression: Compression, from: u64, max_len: Option<usize>) -> Self {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Self { compression, from, max_len: max_len.unwrap_or(MAX_LEN) }
    }

    /// Returns a compressed value as a store keeps it, if this saves at least an eighth of the
    /// `stored_len` bytes that the value takes otherwise.
    pub(super) fn seal(&self, format: Format, payload: &[u8], stored_len: usize) -> Option<Bytes> {
        if !(self.from..=self.max_len).contains(&payload.len()) {
            return None;
        }
        let (method, compressed) = compress(self.compression, payload)?;
        let len = header::LEN + COMPRESSED_HEAD + compressed.len();
        if len > stored_len - stored_len / 8 {
            return None;
        }
        let mut stored = Vec::with_capacity(len);
        stored.resize(header::LEN, 0);
        stored.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        stored.extend_from_slice(&compressed);
        header::fill(&mut stored, format, Some(method));
        Some(stored.into())
    }

    /// Returns the uncompressed payload. Its length is checked before memory is allocated.
    pub(super) fn open(&self, method: Method, payload: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let (len, compressed) = split_compressed(payload).ok_or(Undecodable::Damaged)?;
        let Some(len) = usize::try_from(len).ok().filter(|it| *it <= self.max_len) else {
            return Err(Undecodable::Foreign(
                "the uncompressed value is larger than the store accepts (`max_value_bytes`)",
            ));
        };
        let bytes = uncompress(method, compressed, len)?;
        if bytes.len() == len { Ok(bytes) } else { Err(Undecodable::Damaged) }
    }
}

#[cfg_attr(
    not(any(feature = "lz4", feature = "zstd")),
    expect(unused_variables, reason = "nothing is compressed")
)]
fn compress(compression: Compression, payload: &[u8]) -> Option<(Method, Vec<u8>)> {
    match compression {
        Compression::None => None,
        #[cfg(feature = "lz4")]
        Compression::Lz4 => Some((Method::Lz4, lz4_flex::block::compress(payload))),
        // Without memory the value is stored uncompressed.
        #[cfg(feature = "zstd")]
        Compression::Zstd => Some((Method::Zstd, zstd::bulk::compress(payload, LEVEL).ok()?)),
    }
}

/// Returns at most `len` bytes.
#[cfg_attr(
    not(any(feature = "lz4", feature = "zstd")),
    expect(unused_variables, reason = "nothing can be uncompressed")
)]
fn uncompress(method: Method, compressed: &[u8], len: usize) -> Result<Vec<u8>, Undecodable> {
    match method {
        // A byte of LZ4 stands for at most 255 bytes.
        #[cfg(feature = "lz4")]
        Method::Lz4 if len / 255 > compressed.len() => Err(Undecodable::Damaged),
        #[cfg(feature = "lz4")]
        Method::Lz4 => {
            lz4_flex::block::decompress(compressed, len).map_err(|_| Undecodable::Damaged)
        }
        #[cfg(not(feature = "lz4"))]
        Method::Lz4 => Err(Undecodable::Foreign(
            "the stored bytes are compressed: enable the feature `lz4` of cache-core",
        )),
        // A block of Zstandard has at least 4 bytes and stands for at most 128 KiB.
        #[cfg(feature = "zstd")]
        Method::Zstd if len / (128 << 10) > compressed.len() / 4 => Err(Undecodable::Damaged),
        #[cfg(feature = "zstd")]
        Method::Zstd => zstd::bulk::decompress(compressed, len).map_err(|_| Undecodable::Damaged),
        #[cfg(not(feature = "zstd"))]
        Method::Zstd => Err(Undecodable::Foreign(
            "the stored bytes are compressed: enable the feature `zstd` of cache-core",
        )),
    }
}

#[cfg(all(test, feature = "lz4", feature = "zstd"))]
mod tests {
    use super::*;
    use crate::value::header::{Stored, read};

    #[test]
    fn value_over_the_limit_of_the_store_is_not_uncompressed() {
        let payload = [b'a'; 1000];
        for compression in [Compression::Lz4, Compression::Zstd] {
            let compressor = |max_len| Compressor::new(compression, 0, Some(max_len));
            let stored = compressor(1000).seal(Format::Raw, &payload, 1000).unwrap();
            let Ok(Stored::Compressed(method, Format::Raw, compressed)) = read(&stored) else {
                panic!("{stored:?}");
            };
            assert_eq!(compressor(1000).open(method, compressed).as_deref(), Ok(&payload[..]));
            let refused = compressor(999).open(method, compressed);
            assert!(matches!(refused, Err(Undecodable::Foreign(_))), "{refused:?}");
            assert_eq!(compressor(999).seal(Format::Raw, &payload, 1000), None);
        }
    }
}
