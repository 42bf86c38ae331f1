//! The tests of a store, one file per family of promises.

mod batches;
mod cancellation;
mod clear;
mod compare;
mod counters;
mod keys;
mod lifecycle;
mod lifetimes;
pub(crate) mod limits;
mod long_lifetimes;
mod races;
mod random;
mod reads;
mod rename;
mod values;
mod writes;

use crate::test::Test;

/// Returns all tests, in the order in which they run.
pub(crate) fn tests() -> Vec<Test> {
    [
        reads::TESTS,
        writes::TESTS,
        batches::TESTS,
        counters::TESTS,
        lifetimes::TESTS,
        long_lifetimes::TESTS,
        compare::TESTS,
        rename::TESTS,
        clear::TESTS,
        values::TESTS,
        keys::TESTS,
        limits::TESTS,
        &races::tests(),
        random::TESTS,
        cancellation::TESTS,
        lifecycle::TESTS,
    ]
    .concat()
}
