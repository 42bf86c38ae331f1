//! Entries behave as if each call happened at one moment between its start and its reply: one
//! `add` wins, a value is popped once, and a deleted or expired value does not come back.

use std::collections::{HashMap, HashSet};

use super::{
    checked::{CLOCKS_DIFFER, Checked},
    linear::{Change, Step, Verdict, search},
    report::Report,
};
use crate::{
    clock::MS,
    history::{FaultRecord, Operation},
    record::{Call, DROPPED, Reply},
};

/// The calls of an excerpt.
const SHOWN: usize = 14;
/// In the number of a step, the mark of a delete that is sent again.
const AGAIN: u64 = 1 << 63;

/// Checks the calls of one key.
pub(super) fn check(checked: &Checked<'_>, operations: &[&Operation], report: &mut Report) {
    if checked.may_be_lost(operations) {
        return;
    }
    // The clear of a process that failed is tried again, and takes effect once, often or never.
    let is_failed_clear = |it: &&&Operation| it.call == Call::Clear && it.answer().is_none();
    let lossy = operations.iter().find(is_failed_clear).map_or(u64::MAX, |it| it.start);
    let verdict = |until: u64| search(&steps(checked, operations, until), lossy);
    match verdict(u64::MAX) {
        Verdict::Possible => {}
        Verdict::Undecided => report.undecided += 1,
        Verdict::Impossible => {
            let mut ends: Vec<u64> = operations.iter().map(|it| it.end()).collect();
            ends.sort_unstable();
            // Without the replies after it, the reply of the first such call is still impossible.
            let first = ends.partition_point(|it| verdict(*it) != Verdict::Impossible);
            let until = ends.get(first).copied().unwrap_or(u64::MAX);
            let last: Vec<_> = operations.iter().filter(|it| it.start <= until).copied().collect();
            let shown = &last[last.len().saturating_sub(SHOWN)..];
            let message = format!(
                "{}: no order of the calls explains their replies; the last reply is impossible",
                operations[0].key
            );
            report.violations.push(checked.violation(message, shown));
        }
    }
}

/// Returns the steps of the history until a moment.
fn steps(checked: &Checked<'_>, operations: &[&Operation], until: u64) -> Vec<Step> {
    let shown: HashSet<u64> = operations.iter().filter_map(|it| shown(it)).collect();
    let mut steps: Vec<(u64, Step)> = Vec::new();
    let mut add = |id: u64, start: u64, end: u64, required: bool, change: Change| {
        steps.push((id, Step { start, end, required, before: None, after: None, change }));
    };
    for it in operations.iter().filter(|it| it.start <= until) {
        let reply = it.answer().filter(|_| it.end() <= until).cloned();
        let required = reply.is_some();
        // A near tier may answer with an older value: the staleness of reads is checked apart.
        if checked.has_near() && matches!(it.call, Call::Get | Call::Has) {
            continue;
        }
        // A read without a reply has no effect.
        if !required && (!is_write(&it.call) || it.call == Call::Clear) {
            continue;
        }
        let lifetime = lifetime(&it.call);
        if let Some(lifetime) = lifetime.filter(|_| reply != Some(Reply::Is(false))) {
            let start = it.start + lifetime * MS - CLOCKS_DIFFER;
            let latest = (lifetime + checked.limits.expiry_is_late_by) * MS;
            let end = if required { it.end() + latest } else { u64::MAX };
            add(0, start, end, required && end <= until, Change::Expire(it.id));
        }
        let number = lifetime.map_or(0, |_| it.id);
        let call = if required { it.call.clone() } else { anonymous(&it.call, &shown) };
        add(it.id, it.start, it.end(), required, Change::Call(call, reply, number));
        if is_pending_delete(it) {
            add(it.id | AGAIN, it.start, u64::MAX, false, Change::Call(Call::Delete, None, 0));
        }
    }
    for (start, end) in checked.wipes.iter().copied().filter(|it| it.0 <= until) {
        add(0, start, end, end <= until, Change::Wipe);
    }
    steps.sort_by_key(|it| it.1.start);
    let place: HashMap<u64, usize> = steps.iter().enumerate().map(|(i, it)| (it.0, i)).collect();
    let mut steps: Vec<Step> = steps.into_iter().map(|it| it.1).collect();
    for failed in operations.iter().filter(|it| it.answer().is_none()) {
        let superseded = superseded_by(checked, failed, operations);
        let resolved = next_call(failed, operations);
        for (id, last) in [(failed.id, superseded), (failed.id | AGAIN, resolved)] {
            let last = last.and_then(|it| place.get(&it.id));
            if let (Some(at), Some(last)) = (place.get(&id), last) {
                steps[*at].before = Some(*last).filter(|it| steps[*it].required);
            }
        }
    }
    let mut last: Vec<usize> = Vec::new();
    for at in 0..steps.len() {
        let Change::Call(call, None, 0) = &steps[at].change else { continue };
        let is_equal = |it: &&mut usize| match &steps[**it].change {
            Change::Call(other, ..) => other == call && steps[**it].before == steps[at].before,
            _ => false,
        };
        match last.iter_mut().find(is_equal) {
            Some(equal) => steps[at].after = Some(std::mem::replace(equal, at)),
            None => last.push(at),
        }
    }
    steps
}

/// Returns the value that a reply shows.
fn shown(operation: &Operation) -> Option<u64> {
    match operation.answer()? {
        Reply::Value(it) => *it,
        _ => None,
    }
}

/// Returns the same call with the value 0, if no reply shows its value.
fn anonymous(call: &Call, shown: &HashSet<u64>) -> Call {
    let value = |id: u64| if shown.contains(&id) { id } else { 0 };
    match call {
        Call::Add(id, it) => Call::Add(value(*id), *it),
        Call::Set(id, it) => Call::Set(value(*id), *it),
        Call::Replace(id, it) => Call::Replace(value(*id), *it),
        it => it.clone(),
    }
}

/// Returns the write after which a failed write does not arrive any more: the next acknowledged one
/// of the same process.
fn superseded_by<'a>(
    checked: &Checked<'_>,
    failed: &Operation,
    operations: &[&'a Operation],
) -> Option<&'a Operation> {
    let (ended, _) = failed.reply.as_ref()?;
    let holds = |it: &&FaultRecord| {
        it.fault.holds_bytes() && it.process.is_none_or(|it| it == failed.process)
    };
    let mut holding = checked.history.faults.iter().filter(holds);
    if checked.limits.held_writes_arrive_late && holding.any(|it| failed.overlaps(it.start, it.end))
    {
        return None;
    }
    operations.iter().copied().find(|it| {
        it.process == failed.process
            && it.start > *ended
            && it.answer().is_some()
            && is_write(&it.call)
    })
}

/// Returns whether the delete failed and is sent again. Although it took effect, it may then remove
/// the entry that another process wrote meanwhile: the book states this.
fn is_pending_delete(operation: &Operation) -> bool {
    let failed = matches!(&operation.reply, Some((_, Reply::Failed(it))) if it != DROPPED);
    failed && operation.call == Call::Delete
}

/// Returns the next acknowledged call of the process, before which the delete is sent again.
fn next_call<'a>(failed: &Operation, operations: &[&'a Operation]) -> Option<&'a Operation> {
    let (ended, _) = failed.reply.as_ref()?;
    operations
        .iter()
        .copied()
        .find(|it| it.process == failed.process && it.start > *ended && it.answer().is_some())
}

fn is_write(call: &Call) -> bool {
    !matches!(call, Call::Get | Call::Has)
}

/// Returns the lifetime that the call gives, in milliseconds, if it ends during the run.
fn lifetime(call: &Call) -> Option<u64> {
    match call {
        Call::Add(_, it) | Call::Set(_, it) | Call::Replace(_, it) | Call::Touch(it) => *it,
        _ => None,
    }
}
