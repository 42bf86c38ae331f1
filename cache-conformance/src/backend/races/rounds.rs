use cache_core::Result;

pub(super) const ROUNDS: usize = 30;
pub(super) const TASKS: usize = 8;

/// Returns how many tasks got `true`.
pub(super) fn count(answers: Vec<Result<bool>>) -> Result<usize> {
    let answers = answers.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(answers.into_iter().filter(|&it| it).count())
}
