//! No read that begins after an acknowledged delete returns an older version of the value.

use std::collections::HashMap;

use super::{checked::Checked, report::Violation};
use crate::{
    history::Operation,
    record::{Call, Reply},
};

/// From a moment on, the versions of a value that may be read begin with this one. A delete is one
/// source of floors; an acknowledged revision is another.
struct Floor<'a> {
    from: u64,
    version: u64,
    by: &'a Operation,
    /// Whether only reads of the same process are bound: the delete may have failed open.
    own: bool,
}

/// Checks the calls of one key.
pub(super) fn check(checked: &Checked<'_>, operations: &[&Operation]) -> Option<Violation> {
    let mut floors: Vec<Floor<'_>> = operations.iter().filter_map(|it| floor(it)).collect();
    floors.sort_by_key(|it| it.from);
    let mut began = floors.iter().peekable();
    let mut of_all: Option<&Floor<'_>> = None;
    let mut of_process: HashMap<u32, &Floor<'_>> = HashMap::new();
    for read in operations {
        while let Some(it) = began.next_if(|it| it.from < read.start) {
            let own = of_process.entry(it.by.process).or_insert(it);
            if own.version < it.version {
                *own = it;
            }
            if !it.own && of_all.is_none_or(|all| all.version < it.version) {
                of_all = Some(it);
            }
        }
        if let Some(Reply::Foreign(value)) = read.answer() {
            let message = format!("{}: the read returned {value}", read.key);
            return Some(checked.violation(message, &[read]));
        }
        let Some(version) = version(read) else { continue };
        let breaks = |it: &&Floor<'_>| {
            it.version > version
                // A failover may have undone the delete, or restored the value.
                && !checked.losses.iter().any(|loss| it.by.start <= loss.1 && loss.0 <= read.end())
        };
        let own = of_process.get(&read.process).copied().filter(breaks);
        let all = of_all.filter(breaks).filter(|_| !joined(read, version, operations));
        if let Some(floor) = own.or(all) {
            return Some(stale(checked, read, version, floor, operations));
        }
    }
    None
}

/// Returns the floor that a delete sets. A call that fails open binds only its own process, unless
/// its reply proves that the store removed the entry.
fn floor(operation: &Operation) -> Option<Floor<'_>> {
    let Call::Invalidate { version, strict } = operation.call else { return None };
    let removed = *operation.answer()? == Reply::Is(true);
    Some(Floor { from: operation.end(), version, by: operation, own: !strict && !removed })
}

/// Returns whether this read may have joined a load that was in progress. A caller that joins a
/// load of its own process gets its value, also if another process deleted the key meanwhile: the
/// book states this. A load whose first caller was dropped goes on while other callers wait for it.
fn joined(read: &Operation, version: u64, operations: &[&Operation]) -> bool {
    if read.call != Call::Fetch {
        return false;
    }
    let same =
        |it: &&&Operation| it.process == read.process && it.call == Call::Fetch && it.id != read.id;
    operations.iter().filter(same).any(|first| {
        let loads = first.loads.iter().any(|it| it.1 == version && it.0 <= read.end());
        let waits = operations.iter().filter(same).filter(|it| it.start >= first.start);
        let until =
            waits.fold(
                first.end(),
                |until, it| {
                    if it.start <= until { until.max(it.end()) } else { until }
                },
            );
        loads && until >= read.start
    })
}

/// Returns the version that a read returned.
fn version(operation: &Operation) -> Option<u64> {
    match (&operation.call, operation.answer()?) {
        (Call::Read | Call::Fetch, Reply::Value(it)) => *it,
        _ => None,
    }
}

/// Shows the delete, the read, and the loads of the old version.
fn stale(
    checked: &Checked<'_>,
    read: &Operation,
    version: u64,
    floor: &Floor<'_>,
    operations: &[&Operation],
) -> Violation {
    let message = format!(
        "{}: version {version} was read after a delete at version {}",
        read.key, floor.version
    );
    let loads =
        |it: &&Operation| it.loads.iter().any(|it| it.1 == version) && it.overlaps(0, read.end());
    let mut shown: Vec<_> = operations.iter().copied().filter(loads).collect();
    let at = operations.iter().position(|it| it.id == floor.by.id).unwrap_or_default();
    let to = operations.iter().position(|it| it.id == read.id).unwrap_or_default();
    let between = operations.get(at..=to).unwrap_or_default();
    shown.extend(between.iter().rev().take(12));
    shown.extend([floor.by, read]);
    checked.violation(message, &shown)
}
