//! No acknowledged increment is lost, and none counts twice.

use super::{checked::Checked, report::Violation};
use crate::{
    history::Operation,
    record::{Call, Reply},
};

/// Checks the calls of one counter. All increments are by one.
pub(super) fn check(checked: &Checked<'_>, operations: &[&Operation]) -> Vec<Violation> {
    if checked.may_be_lost(operations) {
        return Vec::new();
    }
    let mut res = Vec::new();
    // Between two wipes, the counter only grows.
    let mut starts: Vec<(u64, u64)> = vec![(0, 0)];
    starts.extend(&checked.wipes);
    for (i, (lost, begin)) in starts.iter().enumerate() {
        let end = starts.get(i + 1).map_or(u64::MAX, |it| it.0);
        let certain = operations.iter().copied();
        let certain = certain.filter(|it| it.start > *begin && it.end() < end);
        let certain = certain.filter(|it| !may_be_near(checked, it, operations));
        let read: Vec<_> = certain.filter_map(|it| Some((it, value(it)?))).collect();
        // A failed increment may count at any later time.
        let possible = operations.iter().copied().filter(|it| {
            it.call == Call::Increment && (it.answer().is_none() || it.end() >= *lost)
        });
        let possible: Vec<_> = possible.filter(|it| it.start <= end).collect();
        res.extend(bounds(checked, &read, &possible).or_else(|| order(checked, &read)));
    }
    res
}

/// Returns whether a near tier may have answered: the process had used the counter before.
fn may_be_near(checked: &Checked<'_>, read: &Operation, operations: &[&Operation]) -> bool {
    let is_earlier = |it: &&Operation| it.process == read.process && it.start < read.start;
    checked.has_near() && read.call == Call::Count && operations.iter().any(is_earlier)
}

/// Each value lies between the increments that must be in it and those that may be.
fn bounds(
    checked: &Checked<'_>,
    read: &[(&Operation, u64)],
    possible: &[&Operation],
) -> Option<Violation> {
    let is_increment = |it: &Operation| it.call == Call::Increment;
    let mut ended: Vec<u64> =
        read.iter().filter(|it| is_increment(it.0)).map(|it| it.0.end()).collect();
    ended.sort_unstable();
    let mut began: Vec<u64> = possible.iter().map(|it| it.start).collect();
    began.sort_unstable();
    read.iter().find_map(|(operation, value)| {
        let own = u64::from(is_increment(operation));
        let least = ended.partition_point(|it| *it < operation.start) as u64 + own;
        let most = began.partition_point(|it| *it <= operation.end()) as u64;
        if (least..=most).contains(value) {
            return None;
        }
        let message = format!(
            "{}: the value {value} is not between the {least} increments that were acknowledged \
             before and the {most} that had begun",
            operation.key
        );
        Some(checked.violation(message, &around(read, operation)))
    })
}

/// Two increments return different values, and a later call the larger one.
fn order(checked: &Checked<'_>, read: &[(&Operation, u64)]) -> Option<Violation> {
    let mut by_end: Vec<_> = read.iter().collect();
    by_end.sort_by_key(|it| it.0.end());
    let mut ended = by_end.into_iter().peekable();
    let mut largest: Option<&(&Operation, u64)> = None;
    for it @ (operation, value) in read {
        while let Some(earlier) = ended.next_if(|it| it.0.end() < operation.start) {
            largest =
                Some(largest.map_or(earlier, |it| if it.1 > earlier.1 { it } else { earlier }));
        }
        let grows = u64::from(operation.call == Call::Increment);
        if let Some(largest) = largest.filter(|largest| largest.1 + grows > *value) {
            let message =
                format!("{}: a later call returned {value} after {}", operation.key, largest.1);
            return Some(checked.violation(message, &[largest.0, it.0]));
        }
    }
    let mut increments: Vec<_> = read.iter().filter(|it| it.0.call == Call::Increment).collect();
    increments.sort_by_key(|it| it.1);
    let twice = increments.windows(2).find(|it| it[0].1 == it[1].1)?;
    let message = format!("{}: two increments returned {}", twice[0].0.key, twice[0].1);
    Some(checked.violation(message, &[twice[0].0, twice[1].0]))
}

/// Returns the calls before and after one.
fn around<'a>(read: &[(&'a Operation, u64)], operation: &Operation) -> Vec<&'a Operation> {
    let at = read.iter().position(|it| it.0.id == operation.id).unwrap_or_default();
    read[at.saturating_sub(8)..read.len().min(at + 4)].iter().map(|it| it.0).collect()
}

/// Returns the value of the counter that a call reported. A missing counter is zero.
fn value(operation: &Operation) -> Option<u64> {
    match operation.answer()? {
        Reply::Value(it) => Some(it.unwrap_or_default()),
        _ => None,
    }
}
