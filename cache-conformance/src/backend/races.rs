//! Many tasks, many rounds, one key.

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

/// How many tasks were told `true`.
fn count(answers: Vec<Result<bool>>) -> Result<usize> {
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(answers.into_iter().filter(|&it| it).count())
}
