//! The kinds of errors.

use std::fmt;

/// The category of an error, for callers to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The settings or a timeout are invalid or cannot be read, or caches are not installed or are
    /// installed twice.
    Config,
    /// The alias is not defined.
    UnknownAlias,
    /// The call needs a tokio runtime that the calling thread does not have, or it must not run on
    /// this thread (a blocking call where tasks are polled).
    Runtime,
    /// The key breaks the rules for keys.
    InvalidKey,
    /// The operation needs an existing key, and the key is missing or expired (`incr`,
    /// `incr_version`).
    KeyNotFound,
    /// The stored value is not a canonical integer (`incr`).
    NotAnInteger,
    /// The result of an increment, or a version, is outside `i64`.
    Overflow,
    /// The value is larger than the store accepts. The old value was deleted.
    TooLarge,
    /// A value cannot be encoded, or (in strict mode) stored bytes cannot be decoded.
    Codec,
    /// The key holds a type other than a byte string, for example a list of another program.
    WrongType,
    /// The store cannot be reached, or refuses to serve.
    Unavailable,
    /// The store did not reply in time. The outcome of a write is unknown.
    TimedOut,
    /// The lock had another owner until the end of the wait.
    Locked,
    /// The store or the platform does not support the operation.
    Unsupported,
    /// The loader of `get_or_try_set` failed, or loads wait for each other in a cycle.
    Loader,
    /// Any other error that the store reports.
    Backend,
}

impl ErrorKind {
    /// Returns whether `fail_open` hides errors of this kind from the caller. These kinds report on
    /// the health of the store, and not on the call.
    pub const fn fails_open(self) -> bool {
        matches!(self, Self::Unavailable | Self::TimedOut | Self::Backend)
    }

    /// Returns whether a store uses this kind for a key whose content is not a value.
    pub(crate) const fn is_unreadable(self) -> bool {
        matches!(self, Self::Codec | Self::WrongType)
    }

    /// All kinds, for tables and metrics.
    pub const ALL: &[Self] = &[
        Self::Config,
        Self::UnknownAlias,
        Self::Runtime,
        Self::InvalidKey,
        Self::KeyNotFound,
        Self::NotAnInteger,
        Self::Overflow,
        Self::TooLarge,
        Self::Codec,
        Self::WrongType,
        Self::Unavailable,
        Self::TimedOut,
        Self::Locked,
        Self::Unsupported,
        Self::Loader,
        Self::Backend,
    ];

    /// Returns the name of the kind, for labels: `TimedOut`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "Config",
            Self::UnknownAlias => "UnknownAlias",
            Self::Runtime => "Runtime",
            Self::InvalidKey => "InvalidKey",
            Self::KeyNotFound => "KeyNotFound",
            Self::NotAnInteger => "NotAnInteger",
            Self::Overflow => "Overflow",
            Self::TooLarge => "TooLarge",
            Self::Codec => "Codec",
            Self::WrongType => "WrongType",
            Self::Unavailable => "Unavailable",
            Self::TimedOut => "TimedOut",
            Self::Locked => "Locked",
            Self::Unsupported => "Unsupported",
            Self::Loader => "Loader",
            Self::Backend => "Backend",
        }
    }

    /// Returns the text with which errors of this kind begin.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "invalid configuration",
            Self::UnknownAlias => "unknown alias",
            Self::Runtime => "wrong runtime",
            Self::InvalidKey => "invalid key",
            Self::KeyNotFound => "key not found",
            Self::NotAnInteger => "not an integer",
            Self::Overflow => "integer overflow",
            Self::TooLarge => "value too large",
            Self::Codec => "codec error",
            Self::WrongType => "wrong type",
            Self::Unavailable => "store unavailable",
            Self::TimedOut => "timed out",
            Self::Locked => "locked",
            Self::Unsupported => "unsupported",
            Self::Loader => "load failed",
            Self::Backend => "store error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_the_name_of_the_variant() {
        for &kind in ErrorKind::ALL {
            assert_eq!(kind.name(), format!("{kind:?}"));
        }
    }

    #[test]
    fn only_store_errors_fail_open() {
        let open: Vec<_> = ErrorKind::ALL.iter().copied().filter(|it| it.fails_open()).collect();
        assert_eq!(open, [ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::Backend]);
    }
}
