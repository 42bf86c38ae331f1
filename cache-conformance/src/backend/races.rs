//! Races: many tasks use one key at the same time, in many rounds.

mod counts;
mod readers;
mod rounds;
mod winners;

use crate::test::Test;

pub(super) fn tests() -> Vec<Test> {
    [winners::TESTS, counts::TESTS, readers::TESTS].concat()
}
