//! The measured calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::suites::network::workers::Job;

/// A measured call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Hit,
    Miss,
    Refresh,
    Lock,
    TagCheck,
    Invalidate,
}

pub(super) const CALLS: [Call; 6] =
    [Call::Hit, Call::Miss, Call::Refresh, Call::Lock, Call::TagCheck, Call::Invalidate];

/// The size of a loaded value.
pub(super) const VALUE_BYTES: usize = 100;

/// A call of a contender. The first contender of each call is ours.
pub(super) struct Contender {
    pub(super) call: Call,
    pub(super) name: &'static str,
    pub(super) job: Job,
}

/// Returns another number at each call: contenders that are connected again find the keys of the
/// former ones.
pub(super) fn next() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Refresh => "refresh",
            Self::Lock => "lock",
            Self::TagCheck => "tag_check",
            Self::Invalidate => "invalidate",
        }
    }

    pub(super) fn case(self, store: &str) -> String {
        format!("{}_{store}", self.name())
    }

    pub(super) fn trips(self, store: &str) -> String {
        format!("{}_{store}_trips", self.name())
    }

    /// Returns the name of the call in the peers in Python, if they have it.
    pub(super) fn in_python(self) -> Option<&'static str> {
        match self {
            Self::Hit => Some("get"),
            Self::Miss => Some("get_or_set"),
            Self::Refresh => Some("set"),
            Self::Lock => Some("lock"),
            Self::TagCheck | Self::Invalidate => None,
        }
    }
}
