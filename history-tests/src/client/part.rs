//! The choice of the next call.

use crate::{planted::Bug, random::Random};

/// A part of the cache's calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Entries,
    Rooms,
    Counters,
    Locks,
    Values,
    Groups,
    Revisions,
    Near,
}

impl Part {
    /// Returns the part of the next call. With a near tier, half of the calls are for it. If a bug
    /// is planted, it is often the part that has the bug, so that a short run finds it.
    pub(super) fn next(random: &mut Random, bug: Option<Bug>, has_near: bool) -> Self {
        if let Some(bug) = bug
            && random.percent(60)
        {
            return of_bug(bug);
        }
        if has_near && random.percent(50) {
            return Self::Near;
        }
        match random.below(100) {
            0..30 => Self::Entries,
            30..39 => Self::Rooms,
            39..52 => Self::Counters,
            52..60 => Self::Locks,
            60..80 => Self::Values,
            80..94 => Self::Groups,
            _ => Self::Revisions,
        }
    }
}

fn of_bug(bug: Bug) -> Part {
    match bug {
        Bug::AddInTwoSteps
        | Bug::PopInTwoSteps
        | Bug::WriteArrivesLate
        | Bug::DeleteIsAcknowledgedEarly
        | Bug::TouchRevives
        | Bug::ReadsAreRemembered
        | Bug::BatchesAreRemembered => Part::Entries,
        Bug::ClearStaysInItsProcess => Part::Rooms,
        Bug::IncrementInTwoSteps | Bug::IncrementTwice | Bug::CompareAndSetIgnoresTheValue => {
            Part::Counters
        }
        Bug::ReleaseIgnoresTheOwner | Bug::FencingNumbersRepeat => Part::Locks,
        Bug::LoadsAreNotFenced | Bug::LeaseIsIgnored => Part::Values,
        Bug::TagVersionsAreReadLate
        | Bug::MissingMarkerIsValid
        | Bug::InvalidationStaysInItsProcess => Part::Groups,
        Bug::OlderRevisionReplaces => Part::Revisions,
    }
}
