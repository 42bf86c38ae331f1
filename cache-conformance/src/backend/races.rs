//! Races: many tasks use one key at the same time, in many rounds.

mod counts;
mod readers;
mod winners;

use cache_core::Result;

use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    [winners::TESTS, counts::TESTS, readers::TESTS].concat()
}

const ROUNDS: usize = 30;
const TASKS: usize = 8;

/// Returns how many tasks got `true`.
fn count(answers: Vec<Result<bool>>) -> Result<usize> {
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(answers.into_iter().filter(|&it| it).count())
}
