//! Commands that several operations send, and their arguments.

use cache_core::store::{Expiry, SetMode};

use crate::encoder::Encoder;

/// The commands of [`encode_entry`].
pub(super) const ENTRY_COMMANDS: usize = 3;

/// A transaction that reads a value with its lifetime; see [`reply::entry`](crate::reply::entry).
pub(super) fn encode_entry(out: &mut Encoder<'_>, key: &str) {
    out.transaction(|out| {
        for command in ["GET", "PEXPIRETIME", "PTTL"] {
            out.command(&[command, key]);
        }
    });
}

pub(super) fn encode_set(
    out: &mut Encoder<'_>,
    key: &str,
    value: &[u8],
    expiry: Expiry,
    mode: SetMode,
) {
    let lifetime = millis(expiry);
    let condition = match mode {
        SetMode::Always => None,
        SetMode::IfAbsent => Some("NX"),
        SetMode::IfPresent => Some("XX"),
    };
    let options = 2 * usize::from(lifetime.is_some()) + usize::from(condition.is_some());
    out.begin(3 + options).arg("SET").arg(key).arg(value);
    if let Some(millis) = lifetime {
        out.arg("PX").number(millis);
    }
    if let Some(condition) = condition {
        out.arg(condition);
    }
}

/// Returns the lifetime in milliseconds, rounded up. Returns `None` if the lifetime does not end,
/// or ends beyond the range of Lua's numbers.
pub(super) fn millis(expiry: Expiry) -> Option<u64> {
    /// A hundred thousand years. Up to there, Lua's numbers are exact.
    const LONGEST: u128 = 100_000 * 366 * 24 * 3_600_000;
    let Expiry::After(time) = expiry else { return None };
    let millis = time.as_nanos().div_ceil(1_000_000).max(1);
    (millis <= LONGEST).then(|| millis.try_into().unwrap_or(u64::MAX))
}
