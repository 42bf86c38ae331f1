//! Values that a near tier returns after they were replaced.

use history_tests::{
    check::Limits,
    fault::Fault,
    record::{
        Call::{
            Add, Clear, Count, Delete, Get, Increment, Invalidate, Pop, Read, Replace, Set, Touch,
        },
        Reply::{Done, Is, Value},
        Way,
    },
};

use crate::{Written, version, volatile};

const OWN: &str = "after the same process had replaced it";
const OLD: &str = "after it was replaced, and the bound is 100.000 ms";

/// A tier whose values may be this old.
fn near() -> Limits {
    Limits { near: Some(100), ..Limits::default() }
}

/// Process 0 writes the value 1, and process 1 the value 2, which is acknowledged after 20 ms.
fn replaced() -> Written {
    let first = Written::of("near-hot0.0").limits(near()).call(0, [0, 5], Set(1, None), Done);
    first.call(1, [10, 20], Set(2, None), Done)
}

#[test]
fn own_write_is_read_at_once() {
    replaced().call(1, [21, 22], Get, Value(Some(1))).breaks(OWN);
    replaced().call(1, [19, 22], Get, Value(Some(1))).passes();
    replaced().call(1, [21, 22], Get, Value(Some(2))).passes();
    replaced().call(1, [21, 22], Get, Value(None)).passes();
}

#[test]
fn write_of_another_process_is_read_within_the_bound() {
    replaced().call(0, [120, 121], Get, Value(Some(1))).passes();
    replaced().call(0, [121, 122], Get, Value(Some(1))).breaks(OLD);
    replaced().call(0, [121, 122], Get, Value(Some(2))).passes();
    replaced().call(2, [121, 122], Get, Value(Some(1))).breaks(OLD);
}

#[test]
fn every_call_that_removes_a_value_counts() {
    let removed = |call, reply| {
        let first = Written::of("near-hot0.0").limits(near()).call(0, [0, 5], Set(1, None), Done);
        first.call(1, [10, 20], call, reply).call(0, [500, 501], Get, Value(Some(1)))
    };
    for (call, reply) in [
        (Delete, Is(true)),
        (Delete, Is(false)),
        (Pop, Value(None)),
        (Clear, Done),
        (Add(2, None), Is(true)),
        (Replace(2, None), Is(true)),
    ] {
        removed(call, reply).breaks(OLD);
    }
    for (call, reply) in [
        (Add(2, None), Is(false)),
        (Replace(2, None), Is(false)),
        (Touch(None), Is(true)),
        (Get, Value(Some(1))),
    ] {
        removed(call, reply).passes();
    }
}

/// Its write may have taken effect after the one that was acknowledged.
#[test]
fn value_of_a_failed_or_concurrent_write_may_be_the_newest() {
    let read = |it: Written| it.limits(near()).call(0, [900, 901], Get, Value(Some(1)));
    let failed = Written::of("near-hot0.0").failed(0, [0, 5], Set(1, None));
    read(failed.call(1, [10, 20], Set(2, None), Done)).passes();
    let overlaps = Written::of("near-hot0.0").call(0, [0, 15], Set(1, None), Done);
    read(overlaps.call(1, [10, 20], Set(2, None), Done)).passes();
    let first = Written::of("near-hot0.0").call(0, [0, 5], Set(1, None), Done);
    read(first.failed(1, [10, 20], Set(2, None))).passes();
}

/// No message reaches a process that stands still, and it knows this by its clock.
#[test]
fn time_in_which_only_the_clock_of_the_reader_stood_still_does_not_count() {
    let read = || replaced().call(0, [250, 251], Get, Value(Some(1)));
    read().fault(Fault::Stop, Some(0), [30, 200]).breaks(OLD);
    read().fault(Fault::Freeze, None, [30, 200]).breaks(OLD);
    read().stood_still(0, [30, 200]).breaks(OLD);
    read().clock_stood_still(0, [30, 200]).passes();
    read().clock_stood_still(1, [30, 200]).breaks(OLD);
    read().clock_stood_still(0, [10, 100]).breaks("the bound is 180.000 ms");
    read().clock_stood_still(0, [200, 400]).breaks("the bound is 150.000 ms");
    let twice = read().clock_stood_still(0, [30, 90]).clock_stood_still(0, [20, 100]);
    twice.breaks("the bound is 180.000 ms");
}

#[test]
fn outage_of_a_node_may_bring_an_older_value_back() {
    let lossy = Limits { outage_loses_writes: true, ..near() };
    let read = |limits| replaced().limits(limits).call(0, [500, 501], Get, Value(Some(1)));
    read(lossy).fault(Fault::Restart, None, [30, 40]).passes();
    read(near()).fault(Fault::Restart, None, [30, 40]).breaks(OLD);
    read(lossy).fault(Fault::HandOver, None, [30, 40]).breaks(OLD);
    read(lossy).fault(Fault::Restart, None, [600, 700]).breaks(OLD);
}

#[test]
fn value_is_not_near_after_its_end() {
    let limits = Limits { expiry_is_late_by: 20, ..near() };
    let short = || Written::of("short0.0").limits(limits).call(0, [0, 5], Set(1, Some(50)), Done);
    short().call(1, [75, 76], Get, Value(Some(1))).passes();
    short().call(1, [76, 77], Get, Value(Some(1))).breaks("after its end");
    let touched = short().call(2, [30, 40], Touch(Some(50)), Is(true));
    touched.call(1, [109, 110], Get, Value(Some(1))).passes();
    short().failed(2, [30, 40], Touch(Some(50))).call(1, [900, 901], Get, Value(Some(1))).passes();
}

/// A near tier explains older values, but nothing else.
#[test]
fn writes_have_one_order_behind_a_near_tier() {
    let entry = || Written::of("entry0.0").limits(near());
    let added = || entry().call(0, [0, 5], Add(1, None), Is(true));
    added().call(1, [6, 7], Add(2, None), Is(true)).breaks("no order of the calls");
    let read = added().call(1, [6, 7], Delete, Is(true)).call(0, [8, 9], Get, Value(Some(1)));
    read.passes();
}

#[test]
fn counter_is_read_within_the_bound() {
    let counter = || {
        let first = Written::of("counter0.0").call(0, [0, 5], Increment, Value(Some(1)));
        first.call(1, [10, 20], Increment, Value(Some(2)))
    };
    let counted = || counter().limits(near());
    counted().call(0, [120, 121], Count, Value(Some(1))).passes();
    counted().call(0, [121, 122], Count, Value(Some(1))).breaks(OLD);
    counted().call(1, [21, 22], Count, Value(Some(1))).breaks(OWN);
    // Another process that has not read the counter before reads it from the store.
    counted().call(3, [700, 701], Count, Value(Some(3))).breaks("is not between");
    let wiped = counter().limits(Limits { near: Some(100), ..volatile() });
    wiped.fault(Fault::Restart, None, [30, 40]).call(0, [500, 501], Count, Value(None)).passes();
}

#[test]
fn revoked_value_is_read_within_the_bound_and_one_with_a_tag_at_once() {
    for (key, way) in [
        ("value0.0", Way::Delete),
        ("revised0.0", Way::SetRevision),
        ("revised0.0", Way::DeleteRevision),
    ] {
        let revoke = Invalidate { version: 2, way };
        let revoked =
            || Written::of(key).limits(near()).call(0, [10, 20], revoke.clone(), Is(true));
        revoked().call(1, [120, 121], Read, version(1, 0)).passes();
        revoked().call(1, [121, 122], Read, version(1, 0)).breaks("version 1 was read after");
        revoked().call(0, [21, 22], Read, version(1, 0)).breaks("version 1 was read after");
    }
    // The markers of tags are remembered for 50 ms, with a near tier as without.
    let revoke = Invalidate { version: 2, way: Way::Tags };
    let revoked =
        || Written::of("tagged-a0.0").limits(near()).call(0, [0, 10], revoke.clone(), Done);
    revoked().call(1, [79, 80], Read, version(1, 0)).passes();
    revoked().call(1, [81, 82], Read, version(1, 0)).breaks("version 1 was read after");
}
