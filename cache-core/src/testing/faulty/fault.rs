use std::time::Duration;

use crate::error::ErrorKind;

/// The fault of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// The call succeeds or fails as in the inner store.
    #[default]
    None,
    /// The call fails with this kind and has no effect. A batch fails for each key.
    Error(ErrorKind),
    /// The call has its effect and then fails with this kind: its reply was lost.
    ErrorAfter(ErrorKind),
    /// The call starts after this time, by the clock of
    /// [`Faulty::with_clock`](super::Faulty::with_clock).
    Delay(Duration),
    /// The call has no effect and never returns.
    Hang,
    /// The call has its effect and never returns.
    HangAfter,
}
