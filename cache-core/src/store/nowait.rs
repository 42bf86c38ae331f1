use super::{Entry, SyncBackend};
use crate::timeout::Ttl;

/// Reads that never block, for a store that otherwise does.
///
/// [`Offload::nowait_reads`](super::Offload::nowait_reads) makes them on the caller's thread, and
/// repeats on one of its own threads those that return [`WouldBlock`].
pub trait NowaitReads: SyncBackend {
    /// Returns the live entry of `key`. See [`Backend::get_entry`](super::Backend::get_entry).
    ///
    /// # Errors
    /// `WouldBlock` if the read might wait for a disk, a lock or another process, if it fails for
    /// any other reason, or if the value has more than `max_len` bytes.
    fn get_entry_nowait(&self, key: &str, max_len: usize) -> Result<Option<Entry>, WouldBlock>;

    /// Returns the remaining lifetime of `key`. See [`Backend::ttl`](super::Backend::ttl).
    ///
    /// # Errors
    /// `WouldBlock` if the read might wait for a disk, a lock or another process, or if it fails
    /// for any other reason.
    fn ttl_nowait(&self, key: &str) -> Result<Option<Ttl>, WouldBlock>;
}

/// A read was not made, because it might block its thread.
///
/// ```
/// use cache_core::store::WouldBlock;
///
/// assert_eq!(WouldBlock.to_string(), "the read would block");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldBlock;

impl std::fmt::Display for WouldBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the read would block")
    }
}

impl std::error::Error for WouldBlock {}
