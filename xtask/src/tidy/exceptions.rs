//! The places that may break a rule. An entry that excuses nothing is a violation itself.

/// The start of the path, the start of the message, and the reason.
pub(super) type Exception = (&'static str, &'static str, &'static str);

/// All exceptions.
pub(super) const ALL: &[Exception] = &[(
    "cache-core/src/runtime/blocking.rs",
    "`sleep(` in a test",
    "it tests the library's own sleep, for 1 ms",
)];
