//! The suite for a whole cache, a file for each family of promises: what the facade adds to the store.

mod batches;
mod clear;
mod counters;
mod handles;
mod keys;
mod loads;
mod timeouts;
mod updates;
mod values;
mod versions;
mod writes;

use crate::runner::Test;

/// All of them, in the order in which they are run.
pub(crate) fn tests() -> Vec<Test> {
    [
        values::TESTS,
        writes::TESTS,
        batches::TESTS,
        counters::TESTS,
        timeouts::TESTS,
        keys::TESTS,
        updates::TESTS,
        versions::TESTS,
        loads::TESTS,
        clear::TESTS,
        handles::TESTS,
    ]
    .concat()
}
