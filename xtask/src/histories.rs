//! `cargo xtask histories`: long runs of the crate `history-tests`.

use anyhow::Result;

use crate::{servers, shell::Shell};

pub(crate) fn run(args: &[&str]) -> Result<()> {
    servers::install()?;
    command(args).run()
}

/// Returns the command that runs the crate's program, which checks the arguments.
fn command(args: &[&str]) -> Shell {
    let run = Shell::new("cargo run --quiet --package history-tests --bin history-tests --");
    args.iter().fold(run, |run, arg| run.arg(*arg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_passed_on_as_they_are() {
        let line = "cargo run --quiet --package history-tests --bin history-tests --";
        assert_eq!(command(&[]).to_string(), line);
        let seed = command(&["--store", "redis", "--seed", "7"]).to_string();
        assert_eq!(seed, format!("{line} --store redis --seed 7"));
    }
}
