//! Counters.

use history_tests::{
    fault::Fault,
    record::{
        Call::{Count, Increment},
        Reply::Value,
    },
};

use crate::{Written, volatile};

fn counter() -> Written {
    Written::of("counter0.0")
}

#[test]
fn acknowledged_increments_are_counted_once() {
    let two = || {
        let first = counter().call(0, [0, 2], Increment, Value(Some(2)));
        first.call(1, [1, 3], Increment, Value(Some(1)))
    };
    two().call(0, [4, 5], Count, Value(Some(2))).passes();
    two().call(0, [4, 5], Count, Value(Some(1))).breaks("not between the 2 increments");
    two().call(0, [4, 5], Count, Value(Some(3))).breaks("and the 2 that had begun");
    two().call(0, [4, 5], Count, Value(None)).breaks("the value 0 is not between");
}

#[test]
fn failed_increments_count_once_or_not_at_all() {
    for value in [1, 2, 3] {
        let failed = counter().failed(0, [0, 1], Increment).killed(1, 1, Increment);
        failed.call(2, [2, 3], Increment, Value(Some(value))).passes();
    }
    let failed = counter().failed(0, [0, 1], Increment).killed(1, 1, Increment);
    failed.call(2, [2, 3], Increment, Value(Some(4))).breaks("and the 3 that had begun");
}

#[test]
fn values_are_unique_and_grow() {
    let base = || counter().failed(0, [0, 1], Increment).failed(0, [0, 1], Increment);
    let twice = base().call(0, [2, 5], Increment, Value(Some(2)));
    twice.call(1, [3, 4], Increment, Value(Some(2))).breaks("two increments returned 2");
    let back = base().call(0, [2, 3], Increment, Value(Some(3)));
    back.call(1, [4, 5], Increment, Value(Some(2))).breaks("a later call returned 2 after 3");
}

#[test]
fn counter_begins_again_after_a_restart_of_a_store_in_memory() {
    let restarted = |value| {
        let before = counter().call(0, [0, 1], Increment, Value(Some(1)));
        let after = before.fault(Fault::Restart, None, [2, 8]);
        after.call(0, [10, 11], Increment, Value(Some(value)))
    };
    restarted(1).limits(volatile()).passes();
    restarted(2).limits(volatile()).breaks("and the 1 that had begun");
    restarted(1).breaks("not between the 2 increments");
    restarted(2).passes();
}
