//! Searches an order of the calls of one key that explains their replies: the algorithm of Wing
//! and Gong (1993) with Lowe's memory of visited states (2017).

use std::collections::HashSet;

use crate::record::{Call, Reply};

/// The visited states after which a search is given up.
const BUDGET: usize = 200_000;

/// A change that happens at one moment between its start and its end.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Whether it must happen; otherwise it may happen, and `end` means nothing.
    pub(super) required: bool,
    /// The index of a step after which it cannot happen any more.
    pub(super) before: Option<usize>,
    /// The index of a step that is equal and began earlier: without it, this one does not happen.
    /// Each order that breaks this rule has an equal one that does not.
    pub(super) after: Option<usize>,
    pub(super) change: Change,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A call, its reply, and the number of the lifetime that it gives; without a reply, any reply
    /// fits.
    Call(Call, Option<Reply>, u64),
    /// The end of the lifetime of this number.
    Expire(u64),
    /// The store loses all entries.
    Wipe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Possible,
    Impossible,
    Undecided,
}

/// The entry of the key: its value, and the number of its lifetime.
type State = Option<(u64, u64)>;

/// Returns whether there is an order. The steps are sorted by their start. From `lossy` on, the
/// entry may disappear at any time.
pub(super) fn search(steps: &[Step], lossy: u64) -> Verdict {
    let mut done = vec![0_u64; steps.len().div_ceil(64)];
    let mut visited = HashSet::new();
    let mut stack = vec![Frame::new(steps, lossy, &done, None, None)];
    while let Some(frame) = stack.last_mut() {
        let Some(candidates) = &mut frame.candidates else { return Verdict::Possible };
        let Some((at, disappears)) = candidates.pop() else {
            if let Some(at) = frame.made {
                done[at / 64] &= !(1 << (at % 64));
            }
            stack.pop();
            continue;
        };
        let state = frame.state;
        let before = state.filter(|_| !disappears);
        let Some(next) = make(&steps[at].change, before) else { continue };
        // A change that need not happen and changes nothing leads nowhere.
        if !steps[at].required && next == state {
            continue;
        }
        done[at / 64] |= 1 << (at % 64);
        if visited.insert((done.clone(), next)) {
            if visited.len() > BUDGET {
                return Verdict::Undecided;
            }
            stack.push(Frame::new(steps, lossy, &done, next, Some(at)));
        } else {
            done[at / 64] &= !(1 << (at % 64));
        }
    }
    Verdict::Impossible
}

/// A prefix of the order.
struct Frame {
    state: State,
    /// The last step of the prefix.
    made: Option<usize>,
    /// The steps that may follow, the best last, and whether the entry disappears before; `None` if
    /// all required steps are done.
    candidates: Option<Vec<(usize, bool)>>,
}

impl Frame {
    fn new(steps: &[Step], lossy: u64, done: &[u64], state: State, made: Option<usize>) -> Self {
        let is_done = |at: usize| done[at / 64] >> (at % 64) & 1 == 1;
        let mut first_end = None;
        for (at, step) in steps.iter().enumerate() {
            if first_end.is_some_and(|end| step.start > end) {
                break;
            }
            if step.required && !is_done(at) {
                first_end = Some(first_end.unwrap_or(u64::MAX).min(step.end));
            }
        }
        let Some(end) = first_end else { return Self { state, made, candidates: None } };
        let open = steps.iter().enumerate().take_while(|it| it.1.start <= end);
        let open = open.filter(|(at, it)| {
            !is_done(*at) && !it.before.is_some_and(is_done) && it.after.is_none_or(is_done)
        });
        let mut candidates: Vec<(usize, bool)> = open.map(|it| (it.0, false)).collect();
        if state.is_some() {
            let may = |it: &&(usize, bool)| steps[it.0].required && steps[it.0].end >= lossy;
            let lost: Vec<_> = candidates.iter().filter(may).map(|it| (it.0, true)).collect();
            candidates.extend(lost);
        }
        candidates.sort_by_key(|(at, disappears)| {
            (!disappears, steps[*at].required, std::cmp::Reverse(steps[*at].end))
        });
        Self { state, made, candidates: Some(candidates) }
    }
}

/// Returns the entry after the step, or `None` if the step does not fit.
fn make(change: &Change, state: State) -> Option<State> {
    let (call, seen, number) = match change {
        Change::Wipe => return Some(None),
        Change::Expire(number) => return Some(state.filter(|it| it.1 != *number)),
        Change::Call(call, seen, number) => (call, seen, *number),
    };
    let is_live = state.is_some();
    let value = |it: State| Reply::Value(it.map(|it| it.0));
    let (next, reply) = match call {
        Call::Add(id, _) => (state.or(Some((*id, number))), Reply::Is(!is_live)),
        Call::Set(id, _) => (Some((*id, number)), Reply::Done),
        Call::Replace(id, _) => (state.map(|_| (*id, number)), Reply::Is(is_live)),
        Call::Touch(_) => (state.map(|it| (it.0, number)), Reply::Is(is_live)),
        Call::Get => (state, value(state)),
        Call::Has => (state, Reply::Is(is_live)),
        Call::Pop => (None, value(state)),
        Call::Delete => (None, Reply::Is(is_live)),
        Call::Clear => (None, Reply::Done),
        _ => return None,
    };
    // A batch of deletes does not tell of each key whether it existed.
    seen.as_ref().is_none_or(|it| *it == reply || *it == Reply::Done).then_some(next)
}
