//! The permit to write a loaded value. A writer that waits for it in vain revokes it.

use crate::runtime::sync::{AtomicUsize, Ordering};

/// Some of the bits [`USED`] and [`REVOKED`].
#[derive(Default)]
pub(super) struct Permit(AtomicUsize);

/// The write is being polled.
const USED: usize = 1;
const REVOKED: usize = 2;

impl Permit {
    /// Begins a poll of the write. Returns `false` if the permit was revoked.
    pub(super) fn begin(&self) -> bool {
        self.0.compare_exchange(0, USED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Ends a poll of the write. Returns whether the permit was revoked meanwhile: the caller that
    /// revoked it waits.
    pub(super) fn end(&self) -> bool {
        self.0.fetch_and(!USED, Ordering::SeqCst) & REVOKED != 0
    }

    /// Revokes the permit. Returns whether the write is being polled: that poll may still take
    /// effect.
    pub(super) fn revoke(&self) -> bool {
        self.0.fetch_or(REVOKED, Ordering::SeqCst) & USED != 0
    }
}
