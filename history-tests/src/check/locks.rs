//! A lock has one owner within its lease, and fencing numbers grow from owner to owner.

use std::collections::HashMap;

use super::{
    checked::{CLOCKS_DIFFER, Checked},
    report::Violation,
};
use crate::{
    clock::MS,
    history::Operation,
    record::{Call, Reply},
};

/// An acquired lock.
struct Owner<'a> {
    acquired: &'a Operation,
    /// The end of the lease, if it began when the call did.
    until: u64,
    number: Option<(&'a Operation, u64)>,
    released: Option<&'a Operation>,
}

/// Checks the calls of one lock.
pub(super) fn check(checked: &Checked<'_>, operations: &[&Operation]) -> Vec<Violation> {
    let mut owners: Vec<Owner<'_>> = operations.iter().filter_map(|it| owner(it)).collect();
    let by_id: HashMap<u64, usize> =
        owners.iter().enumerate().map(|(i, it)| (it.acquired.id, i)).collect();
    for it in operations {
        match it.call {
            Call::Release(of) => {
                by_id.get(&of).into_iter().for_each(|i| owners[*i].released = Some(it));
            }
            Call::Number(of) => {
                let Some(Reply::Value(Some(number))) = it.answer() else { continue };
                by_id.get(&of).into_iter().for_each(|i| owners[*i].number = Some((it, *number)));
            }
            _ => {}
        }
    }
    owners.sort_by_key(|it| it.acquired.end());
    let mut res: Vec<Violation> = owners.iter().filter_map(|it| lost(checked, it)).collect();
    res.extend(overlap(checked, &owners));
    res.extend(numbers(checked, owners));
    res
}

fn owner(operation: &Operation) -> Option<Owner<'_>> {
    let Call::Lock(lease) = operation.call else { return None };
    (operation.answer() == Some(&Reply::Is(true))).then(|| {
        let until = operation.start + lease * MS - CLOCKS_DIFFER;
        Owner { acquired: operation, until, number: None, released: None }
    })
}

/// A lock that was released within its lease was held to the end.
fn lost(checked: &Checked<'_>, owner: &Owner<'_>) -> Option<Violation> {
    let released = owner.released.filter(|it| it.answer() == Some(&Reply::Is(false)))?;
    let kept = owner.until.min(checked.next_loss(owner.acquired.start));
    (released.end() < kept).then(|| {
        let message = format!("{}: the lock was lost before its lease ended", released.key);
        checked.violation(message, &[owner.acquired, released])
    })
}

/// Two owners do not have the lock at the same time.
fn overlap(checked: &Checked<'_>, owners: &[Owner<'_>]) -> Option<Violation> {
    let end = |it: &Owner<'_>| {
        let released = it.released.map_or(u64::MAX, |it| it.start);
        it.until.min(released).min(checked.next_loss(it.acquired.start))
    };
    let mut last: Option<&Owner<'_>> = None;
    for it in owners.iter().filter(|it| it.acquired.end() < end(it)) {
        if let Some(last) = last.filter(|last| end(last) > it.acquired.end()) {
            let message = format!("{}: the lock has two owners", it.acquired.key);
            let both = [last, it];
            let shown: Vec<_> =
                both.iter().flat_map(|it| [Some(it.acquired), it.released]).flatten().collect();
            return Some(checked.violation(message, &shown));
        }
        last = Some(last.map_or(it, |last| if end(last) > end(it) { last } else { it }));
    }
    None
}

/// The number of an owner is larger than those of all earlier owners.
fn numbers(checked: &Checked<'_>, mut owners: Vec<Owner<'_>>) -> Option<Violation> {
    let earlier: Vec<(&Operation, &Operation, u64)> = owners
        .iter()
        .filter_map(|it| it.number.map(|(call, number)| (it.acquired, call, number)))
        .collect();
    let mut ended = earlier.iter().peekable();
    let mut largest: Option<&(&Operation, &Operation, u64)> = None;
    owners.sort_by_key(|it| it.acquired.start);
    for it in &owners {
        let Some((call, number)) = it.number else { continue };
        while let Some(next) = ended.next_if(|next| next.0.end() < it.acquired.start) {
            // After a failover, the replica may continue with an older count.
            let is_kept = !checked.losses.iter().any(|it| next.1.start <= it.1);
            largest =
                [largest, is_kept.then_some(next)].into_iter().flatten().max_by_key(|it| it.2);
        }
        if let Some(largest) = largest.filter(|largest| largest.2 >= number) {
            let message = format!(
                "{}: the fencing number {number} is not larger than {} of an earlier owner",
                call.key, largest.2
            );
            let shown = [largest.0, largest.1, it.acquired, call];
            return Some(checked.violation(message, &shown));
        }
    }
    None
}
