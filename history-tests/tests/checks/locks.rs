//! Locks and fencing numbers.

use history_tests::{
    fault::Fault,
    record::{
        Call::{Lock, Number, Release},
        Reply::{Is, Value},
    },
};

use crate::{Written, volatile};

/// The call 1 acquires the lock for 100 ms.
fn held() -> Written {
    Written::of("lock0").call(0, [0, 2], Lock(100), Is(true))
}

#[test]
fn lock_has_one_owner_within_its_lease() {
    let second = |start| held().call(1, [start, start + 2], Lock(100), Is(true));
    second(50).breaks("the lock has two owners");
    second(101).passes();
    second(50).fault(Fault::Restart, None, [20, 40]).limits(volatile()).passes();
    second(50).fault(Fault::FailOver, None, [20, 40]).passes();
    second(50).fault(Fault::Restart, None, [20, 40]).breaks("the lock has two owners");
    let released = |start| held().call(0, [start, start + 2], Release(1), Is(true));
    released(40).call(1, [41, 52], Lock(100), Is(true)).passes();
    released(60).call(1, [41, 52], Lock(100), Is(true)).breaks("the lock has two owners");
    // The release may have taken effect.
    held().failed(0, [40, 45], Release(1)).call(1, [50, 52], Lock(100), Is(true)).passes();
}

#[test]
fn lock_is_held_until_its_lease_ends() {
    held().call(0, [50, 60], Release(1), Is(false)).breaks("lost before its lease ended");
    held().call(0, [95, 110], Release(1), Is(false)).passes();
}

#[test]
fn fencing_numbers_grow_from_owner_to_owner() {
    let numbers = |first, second| {
        let first = held().call(0, [3, 4], Number(1), Value(Some(first))).call(
            0,
            [5, 6],
            Release(1),
            Is(true),
        );
        let next = first.call(1, [10, 12], Lock(100), Is(true));
        next.call(1, [13, 14], Number(4), Value(Some(second)))
    };
    numbers(7, 8).passes();
    numbers(7, 7).breaks("the fencing number 7 is not larger than 7");
    numbers(8, 7).breaks("is not larger");
    numbers(8, 7).fault(Fault::FailOver, None, [7, 9]).passes();
}
