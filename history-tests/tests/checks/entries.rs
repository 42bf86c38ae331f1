//! Entries: `add`, `set`, `pop`, `delete` and lifetimes.

use history_tests::{
    check::Limits,
    fault::Fault,
    record::{
        Call::{Add, Clear, Delete, Get, Has, Pop, Set, Touch},
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
fn delete_that_failed_may_take_effect_twice() {
    let removed = |delete: fn(Written) -> Written| {
        let set = delete(entry().call(0, [0, 1], Set(1, None), Done));
        let again = set.call(0, [5, 6], Get, Value(None)).call(0, [7, 8], Set(2, None), Done);
        again.call(1, [9, 12], Get, Value(None))
    };
    let failed: fn(Written) -> Written = |it| it.failed(1, [2, 4], Delete);
    removed(failed).passes();
    let thrice = removed(failed).call(0, [13, 14], Set(3, None), Done);
    thrice.call(0, [15, 16], Get, Value(None)).breaks(BROKEN);
    removed(|it| it.dropped(1, [2, 4], Delete)).breaks(BROKEN);
    removed(|it| it.killed(1, 2, Delete)).breaks(BROKEN);
    removed(|it| it.failed(1, [2, 4], Pop)).breaks(BROKEN);
}

#[test]
fn delete_that_failed_is_not_sent_again_after_its_process_used_the_key() {
    let set = entry().call(0, [0, 1], Set(1, None), Done).failed(1, [2, 4], Delete);
    let used = set.call(1, [5, 6], Get, Value(Some(1))).call(0, [7, 8], Get, Value(None));
    let again = used.call(0, [9, 10], Set(2, None), Done);
    again.call(0, [11, 12], Get, Value(None)).breaks(BROKEN);
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

#[test]
fn batch_of_deletes_tells_of_a_key_only_if_all_are_alike() {
    let deleted = |reply| {
        let set = entry().call(0, [0, 1], Set(1, None), Done);
        set.call(0, [2, 3], Delete, reply).call(1, [4, 5], Get, Value(None))
    };
    deleted(Done).passes();
    deleted(Is(true)).passes();
    deleted(Is(false)).breaks(BROKEN);
    let back = deleted(Done).call(1, [6, 7], Get, Value(Some(1)));
    back.breaks(BROKEN);
}

#[test]
fn clear_of_a_namespace_removes_its_entries_and_only_then() {
    let room = || Written::of("room0.0").call(0, [0, 1], Set(1, None), Done);
    let cleared = || room().call(1, [2, 3], Clear, Done);
    cleared().call(0, [4, 5], Get, Value(None)).passes();
    cleared().call(0, [4, 5], Get, Value(Some(1))).breaks(BROKEN);
    room().call(0, [4, 5], Get, Value(None)).breaks(BROKEN);
    // It is tried again, and each time may take effect.
    let failed = || room().failed(1, [2, 3], Clear);
    failed().call(0, [4, 5], Get, Value(Some(1))).passes();
    let again = failed().call(0, [4, 5], Get, Value(None)).call(0, [6, 7], Set(2, None), Done);
    again.call(0, [8, 9], Get, Value(None)).passes();
    let back = failed().call(0, [4, 5], Get, Value(None));
    back.call(0, [8, 9], Get, Value(Some(1))).breaks(BROKEN);
    let before = room().call(0, [2, 3], Get, Value(None));
    before.failed(1, [4, 5], Clear).breaks(BROKEN);
}
