//! No read that begins after an acknowledged invalidation returns an older version of the value.

use super::{
    ages::Staleness,
    checked::{Checked, TAG_STALENESS},
    report::Violation,
};
use crate::{
    clock::MS,
    history::Operation,
    record::{Call, DROPPED, Reply, Way},
};

/// How much longer than `tag_staleness` a process may remember a version: the cache compares with a
/// clock that is exact to some milliseconds.
const STALENESS: u64 = (TAG_STALENESS + 20) * MS;
/// The longest time from the beginning of a load to its end, with the write of its value.
const LOAD: u64 = 4000 * MS;

/// From a moment on, the versions of a value that may be read begin with this one.
struct Floor<'a> {
    version: u64,
    way: Way,
    by: &'a Operation,
    /// The beginning for reads of the process that made the call.
    own: u64,
    /// The beginning for reads of other processes.
    others: u64,
    /// The end: the store may lose a floor that is part of an entry.
    until: u64,
}

/// A version that a read returned.
struct Seen<'a> {
    read: &'a Operation,
    version: u64,
    /// The call that loaded or wrote it.
    by: Option<&'a Operation>,
}

/// Checks the calls of one key.
pub(super) fn check(
    checked: &Checked<'_>,
    operations: &[&Operation],
    staleness: &mut Staleness,
) -> Option<Violation> {
    let floors: Vec<_> = operations.iter().filter_map(|it| floor(checked, it)).collect();
    let background = floors.iter().any(|it| it.way == Way::ExpireTags);
    for read in operations {
        if let Some(Reply::Foreign(value)) = read.answer() {
            let message = format!("{}: the read returned {value}", read.key);
            return Some(checked.violation(message, &[read]));
        }
        let Some(Reply::Version { version, by }) = read.answer() else { continue };
        let by = operations.iter().copied().find(|it| it.id == *by);
        let seen = Seen { read, version: *version, by };
        let breaks = |it: &&Floor<'_>| {
            it.binds(read)
                && it.version > *version
                && !may_be_lost(checked, it, read)
                && !it.is_outrun(&seen)
                && !(it.allows_joining(&seen) && joined(checked, &seen, operations, background))
        };
        staleness.reads += 1;
        let mut broken = floors.iter().rev().filter(breaks);
        let of_others = |it: &&Floor<'_>| it.by.process != read.process;
        let first = broken.clone().filter(of_others).map(|it| it.others).min();
        if let Some(since) = first {
            staleness.note(read.start - since, checked.is_calm(since, read.start));
        }
        if let Some(floor) = broken.find(|it| !it.allows_near(checked, read)) {
            return Some(stale(checked, &seen, floor, operations));
        }
    }
    None
}

/// Returns the floor that a call sets.
fn floor<'a>(checked: &Checked<'_>, by: &'a Operation) -> Option<Floor<'a>> {
    let Call::Invalidate { version, way } = by.call else { return None };
    let (end, reply) = by.reply.as_ref()?;
    let failed = matches!(reply, Reply::Failed(_));
    let is_dropped = *reply == Reply::Failed(DROPPED.into());
    let never = u64::MAX;
    let others = match way {
        _ if failed => never,
        // A call that fails open binds only its own process, unless its reply proves that the store
        // removed the entry.
        Way::OpenDelete if *reply != Reply::Is(true) => never,
        Way::Delete | Way::OpenDelete | Way::SetRevision | Way::DeleteRevision => *end,
        Way::Tags | Way::ExpireTags | Way::Clear => end + STALENESS,
    };
    let own = match way {
        // A delete that failed is pending, and its key is a miss. It is not pending if it was
        // dropped.
        Way::Delete | Way::OpenDelete if is_dropped => never,
        Way::SetRevision | Way::DeleteRevision if failed => never,
        // An invalidation is pending also if it was dropped.
        _ => *end,
    };
    let until = match way {
        Way::SetRevision | Way::DeleteRevision => checked.next_loss(by.start),
        _ => never,
    };
    Some(Floor { version, way, by, own, others, until })
}

impl Floor<'_> {
    /// Returns whether a read must not return older versions.
    fn binds(&self, read: &Operation) -> bool {
        let from = if read.process == self.by.process { self.own } else { self.others };
        // A value with an expired tag may be served by loads.
        let is_served = self.way == Way::ExpireTags && read.call == Call::Fetch;
        from < read.start && read.end() < self.until && !is_served
    }

    /// Returns whether a near tier may return older values to this read. The markers of tags and
    /// namespaces are not near.
    fn allows_near(&self, checked: &Checked<'_>, read: &Operation) -> bool {
        let is_marker = matches!(self.way, Way::Tags | Way::ExpireTags | Way::Clear);
        let is_own = read.process == self.by.process;
        !is_own && !is_marker && read.start - self.others <= checked.allowed(read, self.others)
    }

    /// Returns whether a `set` may have taken effect after the invalidation began. It cannot know
    /// that its value is older.
    fn is_outrun(&self, seen: &Seen<'_>) -> bool {
        seen.by.is_some_and(|it| it.call == Call::Store && it.end() >= self.by.start)
    }

    /// Returns whether callers may join a load that began before the invalidation: in the process
    /// that invalidates, only if it did not end.
    fn allows_joining(&self, seen: &Seen<'_>) -> bool {
        seen.read.process != self.by.process || self.by.answer().is_none()
    }
}

/// A failover may undo the invalidation, or restore the value.
fn may_be_lost(checked: &Checked<'_>, floor: &Floor<'_>, read: &Operation) -> bool {
    checked.losses.iter().any(|loss| floor.by.start <= loss.1 && loss.0 <= read.end())
}

/// Returns whether this read may have joined a load that was in progress. A caller that joins a
/// load of its own process gets its value, also if another process invalidated it meanwhile: the
/// book states this. A load whose first caller was dropped goes on while other callers wait for it,
/// and one that refreshes a stale value goes on in the `background`.
fn joined(
    checked: &Checked<'_>,
    seen: &Seen<'_>,
    operations: &[&Operation],
    background: bool,
) -> bool {
    let Seen { read, by: Some(first), .. } = seen else { return false };
    if read.call != Call::Fetch || first.call != Call::Fetch || first.process != read.process {
        return false;
    }
    let Some((at, _)) = first.loads.iter().find(|it| it.1 == seen.version && it.0 <= read.end())
    else {
        return false;
    };
    let late = checked.stood_still(read.process, *at, read.start);
    // A caller that began earlier may have joined, too: its read took longer.
    let waits =
        |it: &&&Operation| it.process == read.process && it.call == Call::Fetch && it.id != read.id;
    let ended = |until: u64, it: &&Operation| {
        if it.start <= until { until.max(it.end()) } else { until }
    };
    let until = operations.iter().filter(waits).fold(first.end(), ended);
    until >= read.start || (background && at + LOAD + late >= read.start)
}

/// Shows the invalidation, the read, and the loads of the old version.
fn stale(
    checked: &Checked<'_>,
    seen: &Seen<'_>,
    floor: &Floor<'_>,
    operations: &[&Operation],
) -> Violation {
    let Seen { read, version, by } = seen;
    let act = match floor.way {
        Way::Delete | Way::OpenDelete => "a delete",
        Way::Tags => "an invalidation of a tag",
        Way::ExpireTags => "an expiry of a tag",
        Way::Clear => "a clear of the namespace",
        Way::SetRevision => "a write with a revision",
        Way::DeleteRevision => "a delete with a revision",
    };
    let message = format!(
        "{}: version {version} was read after {act} at version {}",
        read.key, floor.version
    );
    let mut shown: Vec<_> = by.iter().copied().collect();
    let at = operations.iter().position(|it| it.id == floor.by.id).unwrap_or_default();
    let to = operations.iter().position(|it| it.id == read.id).unwrap_or_default();
    let between = operations.get(at..=to).unwrap_or_default();
    shown.extend(between.iter().rev().take(14));
    shown.extend([floor.by, read]);
    // The calls whose loads the read may have joined.
    let loads = |it: &&Operation| {
        it.process == read.process && it.overlaps(read.start, read.end()) && !it.loads.is_empty()
    };
    shown.extend(operations.iter().copied().filter(loads));
    checked.violation(message, &shown)
}
