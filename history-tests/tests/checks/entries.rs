//! Entries: `add`, `set`, `pop`, `delete` and lifetimes.

use history_tests::{
    check::Limits,
    fault::Fault,
    record::{
        Call::{Add, Delete, Get, Has, Pop, Set, Touch},
        Reply::{Done, Is, Value},
    },
};

use crate::{Written, volatile};

const BROKEN: &str = "no order of the calls explains their replies";

fn entry() -> Written {
    Written::of("entry0.0")
}

#[test]
fn two_adds_win_only_with_a_removal_between_them() {
    let first = || entry().call(0, [0, 1], Add(1, None), Is(true));
    first().call(1, [2, 3], Add(2, None), Is(true)).breaks(BROKEN);
    first().call(2, [1, 4], Delete, Is(true)).call(1, [2, 3], Add(2, None), Is(true)).passes();
    first()
        .call(2, [1, 4], Delete, Is(false))
        .call(1, [2, 3], Add(2, None), Is(true))
        .breaks(BROKEN);
    // The killed process may have deleted the entry, also after it was killed.
    first().killed(2, 1, Delete).call(1, [20, 30], Add(2, None), Is(true)).passes();
    first().killed(2, 31, Delete).call(1, [20, 30], Add(2, None), Is(true)).breaks(BROKEN);
}

#[test]
fn value_is_popped_once() {
    let written = || entry().call(0, [0, 1], Set(1, None), Done);
    written().call(0, [2, 3], Pop, Value(Some(1))).passes();
    let twice = written().call(0, [2, 5], Pop, Value(Some(1))).call(1, [3, 4], Pop, Value(Some(1)));
    twice.breaks(BROKEN);
}

#[test]
fn acknowledged_value_is_found() {
    entry().call(0, [0, 1], Set(1, None), Done).call(1, [2, 3], Get, Value(None)).breaks(BROKEN);
    entry().call(0, [0, 3], Set(1, None), Done).call(1, [2, 4], Get, Value(None)).passes();
    entry().call(1, [2, 3], Get, Value(Some(7))).breaks(BROKEN);
}

#[test]
fn failed_write_does_not_arrive_after_the_next_write_of_its_process() {
    let late =
        |deleter| {
            entry()
                .failed(0, [0, 10], Set(1, None))
                .call(deleter, [20, 30], Delete, Is(false))
                .call(1, [40, 50], Get, Value(Some(1)))
        };
    late(0).breaks(BROKEN);
    late(1).passes();
    let killed = entry().killed(0, 0, Set(1, None)).call(1, [20, 30], Delete, Is(false));
    killed.call(1, [40, 50], Get, Value(Some(1))).passes();
}

#[test]
fn held_write_may_arrive_late_only_where_the_store_cannot_prevent_it() {
    let held = |allowed, time| {
        entry()
            .failed(0, [0, 10], Set(1, None))
            .call(0, [20, 30], Delete, Is(false))
            .call(1, [40, 50], Get, Value(Some(1)))
            .fault(Fault::Hold, Some(0), time)
            .limits(Limits { held_writes_arrive_late: allowed, ..Limits::default() })
    };
    held(true, [5, 35]).passes();
    held(true, [12, 35]).breaks(BROKEN);
    held(false, [5, 35]).breaks(BROKEN);
}

#[test]
fn entry_lives_as_long_as_asked_and_no_longer() {
    let found = |lifetime, time, reply| {
        let set = entry().call(0, [0, 10], Set(1, Some(lifetime)), Done);
        set.call(0, time, Has, Is(reply))
            .limits(Limits { expiry_is_late_by: 20, ..Limits::default() })
    };
    found(100, [90, 98], true).passes();
    found(100, [90, 98], false).breaks(BROKEN);
    found(100, [110, 120], true).passes();
    found(100, [110, 120], false).passes();
    found(100, [131, 140], true).breaks(BROKEN);
    found(100, [131, 140], false).passes();
}

#[test]
fn touch_gives_a_new_lifetime_to_a_live_entry_alone() {
    let touched = |at: u64| {
        let set = entry().call(0, [0, 10], Set(1, Some(100)), Done);
        set.call(0, [at, at + 5], Touch(Some(100)), Is(true)).call(0, [190, 195], Has, Is(true))
    };
    touched(95).passes();
    touched(125).breaks(BROKEN);
}

#[test]
fn restart_removes_the_entries_of_a_store_in_memory() {
    let restarted = || {
        let set = entry().call(0, [0, 1], Set(1, None), Done).fault(Fault::Restart, None, [2, 8]);
        set.call(0, [10, 11], Get, Value(None))
    };
    restarted().breaks(BROKEN);
    restarted().limits(volatile()).passes();
    let back = || restarted().limits(volatile()).call(0, [12, 13], Get, Value(Some(1)));
    back().breaks(BROKEN);
    back().fault(Fault::FailOver, None, [3, 4]).passes();
}
