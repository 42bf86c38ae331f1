//! The tests of a cache over a store, one file per family of promises that the facade adds.

mod batches;
mod bytes;
mod clear;
mod counters;
mod fenced_load;
mod fences;
mod fetch;
mod fetch_many;
mod fetch_storm;
mod handles;
mod keys;
mod keyspaces;
mod leases;
mod loads;
mod locks;
mod namespaces;
mod revisions;
mod tags;
mod timeouts;
mod updates;
mod values;
mod versions;
mod writes;

use crate::test::Test;

/// Returns all tests, in the order in which they run.
pub(crate) fn tests() -> Vec<Test> {
    [
        values::TESTS,
        writes::TESTS,
        batches::TESTS,
        bytes::TESTS,
        counters::TESTS,
        timeouts::TESTS,
        keys::TESTS,
        keyspaces::TESTS,
        updates::TESTS,
        versions::TESTS,
        loads::TESTS,
        fetch::TESTS,
        fetch_many::TESTS,
        fetch_storm::TESTS,
        fences::TESTS,
        leases::TESTS,
        revisions::TESTS,
        locks::TESTS,
        namespaces::TESTS,
        tags::TESTS,
        clear::TESTS,
        handles::TESTS,
    ]
    .concat()
}
