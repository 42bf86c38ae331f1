//! The outcome of a call for one key, and its name.

/// The outcome of a call for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Stale,
    Absent,
    Done,
    Failed,
    Refused,
}

impl Outcome {
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        expect(dead_code, reason = "a label of metrics and events")
    )]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// Returns whether a read found what it asked for; `None` if it failed, or was no read.
    #[cfg(feature = "tracing")]
    pub(crate) const fn is_hit(self) -> Option<bool> {
        match self {
            Self::Hit | Self::Stale | Self::Absent => Some(true),
            Self::Miss => Some(false),
            Self::Done | Self::Failed | Self::Refused => None,
        }
    }
}
