//! How old the values are that reads return: the time from the acknowledgement of a call that
//! replaced or removed the value to the beginning of the read. Behind a near tier, a process never
//! finds a value that is older than its own writes, and the others find one only within a bound.
//! Without a near tier, the other checks allow no such value.

use std::collections::HashMap;

use super::{checked::Checked, report::Report};
use crate::{
    clock::MS,
    history::{Operation, millis},
    record::{Call, Reply},
};

/// Checks the reads of the entries of one key.
pub(super) fn entries(checked: &Checked<'_>, operations: &[&Operation], report: &mut Report) {
    let writes: HashMap<u64, &Operation> =
        operations.iter().filter_map(|it| Some((written(it)?, *it))).collect();
    let ends: Vec<&Operation> = operations.iter().copied().filter(|it| ends_values(it)).collect();
    for read in operations.iter().copied().filter(|it| it.call == Call::Get) {
        let Some(Reply::Value(Some(value))) = read.answer() else { continue };
        // A write that failed may take effect later.
        let Some(write) = writes.get(value).filter(|it| it.answer().is_some()) else { continue };
        let is_later = |it: &&&Operation| it.start >= write.end() && it.end() < read.start;
        judge(checked, read, ends.iter().copied().filter(|it| is_later(&it)), report);
        outlived(checked, read, write, operations, report);
    }
}

/// Checks the reads of one counter: an increment replaces all smaller values.
pub(super) fn counters(checked: &Checked<'_>, operations: &[&Operation], report: &mut Report) {
    let value = |it: &Operation| match it.answer() {
        Some(Reply::Value(it)) => Some(it.unwrap_or_default()),
        _ => None,
    };
    let increments: Vec<_> = operations
        .iter()
        .filter(|it| it.call == Call::Increment)
        .filter_map(|it| Some((*it, value(it)?)))
        .collect();
    for read in operations.iter().copied().filter(|it| it.call == Call::Count) {
        let Some(found) = value(read) else { continue };
        // A counter that was lost starts at zero.
        let since = operations[0].start;
        let mut ends = checked.wipes.iter().chain(&checked.losses);
        if ends.any(|it| it.0 <= read.end() && since <= it.1) {
            continue;
        }
        let later = increments.iter().filter(|it| it.1 > found && it.0.end() < read.start);
        judge(checked, read, later.map(|it| it.0), report);
    }
}

/// Notes the age of the value of a read, which these calls replaced before the read began.
fn judge<'a>(
    checked: &Checked<'_>,
    read: &'a Operation,
    later: impl Iterator<Item = &'a Operation> + Clone,
    report: &mut Report,
) {
    report.staleness.reads += 1;
    let lost = |it: &&Operation| {
        checked.losses.iter().any(|loss| loss.0 <= read.end() && it.start <= loss.1)
    };
    let later = later.filter(|it| !lost(it));
    let own = later.clone().filter(|it| it.process == read.process).min_by_key(|it| it.end());
    if let Some(own) = own {
        let age = read.start - own.end();
        report.staleness.own = report.staleness.own.max(age);
        let message = format!(
            "{}: a value was read {} ms after the same process had replaced it",
            read.key,
            millis(age, 0)
        );
        report.violations.push(checked.violation(message, &[own, read]));
    }
    let Some(first) = later.min_by_key(|it| it.end()) else { return };
    let (age, allowed) = (read.start - first.end(), checked.allowed(read, first.end()));
    report.staleness.note(age, checked.is_calm(first.end(), read.start));
    if age > allowed {
        let message = format!(
            "{}: a value was read {} ms after it was replaced, and the bound is {} ms",
            read.key,
            millis(age, 0),
            millis(allowed, 0)
        );
        report.violations.push(checked.violation(message, &[first, read]));
    }
}

/// A value with a lifetime is not read after its end.
fn outlived(
    checked: &Checked<'_>,
    read: &Operation,
    write: &Operation,
    operations: &[&Operation],
    report: &mut Report,
) {
    let late = checked.limits.expiry_is_late_by;
    let end = |it: &Operation| match it.call {
        Call::Add(_, it) | Call::Set(_, it) | Call::Replace(_, it) | Call::Touch(it) => it,
        _ => None,
    };
    let end = |it: &Operation| end(it).map(|life| it.end().saturating_add((life + late) * MS));
    let Some(first) = end(write) else { return };
    let touches = operations.iter().filter(|it| matches!(it.call, Call::Touch(_)));
    let touches = touches.filter(|it| it.end() > write.start && it.start < read.end());
    // A touch that failed may take effect later, and one without an end removes it.
    let mut ends = touches.map(|it| it.answer().and_then(|_| end(it)));
    let Some(last) = ends.try_fold(first, |last, it| Some(last.max(it?))) else { return };
    if read.start > last {
        let message =
            format!("{}: a value was read {} ms after its end", read.key, millis(read.start, last));
        report.violations.push(checked.violation(message, &[write, read]));
    }
}

/// Returns the value that a call writes.
fn written(operation: &Operation) -> Option<u64> {
    match operation.call {
        Call::Add(id, _) | Call::Set(id, _) | Call::Replace(id, _) => Some(id),
        _ => None,
    }
}

/// Returns whether the call certainly replaced or removed the value that was stored before.
fn ends_values(operation: &Operation) -> bool {
    match (&operation.call, operation.answer()) {
        (Call::Set(..) | Call::Delete | Call::Pop | Call::Clear, Some(_)) => true,
        (Call::Add(..) | Call::Replace(..), Some(it)) => *it == Reply::Is(true),
        _ => false,
    }
}
