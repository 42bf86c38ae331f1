//! The README's five minutes, word for word: makes, builds and runs the project. Then runs the
//! `cargo add` lines of the book in it.

use std::{env, fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{shell::Shell, workspace};

const SECTION: &str = "## Five minutes";
/// The folder in which the README puts the project.
const FOLDER: &str = "../my-service";

pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let readme = fs::read_to_string(root.join("README.md")).context("README.md")?;
    let steps = Steps::parse(&readme)?;
    // Outside of the workspace, as a reader's project is.
    let folder = env::temp_dir().join(format!("five-minutes-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let res = steps
        .follow(&folder, &workspace::target())
        .and_then(|()| add_as_the_chapters_say(&folder.join("my-service")));
    fs::remove_dir_all(&folder)?;
    res
}

/// The steps of the section.
#[derive(Debug)]
struct Steps {
    /// The lines for a shell.
    commands: Vec<String>,
    settings: String,
    program: String,
    /// The program's output; `…` stands for any text.
    prints: String,
}

impl Steps {
    fn parse(readme: &str) -> Result<Self> {
        let start =
            readme.find(SECTION).with_context(|| format!("README.md has no `{SECTION}`"))?;
        let section = &readme[start + SECTION.len()..];
        let section = section.split("\n## ").next().unwrap_or(section);
        let block = |language: &str| {
            let fence = format!("\n```{language}\n");
            let block = section.split_once(&fence).and_then(|(_, it)| it.split_once("\n```"));
            let (block, _) =
                block.with_context(|| format!("`{SECTION}` has no {language} block"))?;
            anyhow::Ok(format!("{block}\n"))
        };
        let commands = block("console")?;
        let commands = commands.lines().filter_map(|it| it.strip_prefix("$ ")).map(String::from);
        Ok(Self {
            commands: commands.collect(),
            settings: block("toml")?,
            program: block("rust")?,
            prints: block("text")?,
        })
    }

    fn follow(&self, folder: &Path, target: &Path) -> Result<()> {
        let project = folder.join("my-service");
        let shown = project.to_str().context("the temporary folder's name is not UTF-8")?;
        let script = self.commands.join("\n").replace(FOLDER, shown);
        Shell::new("bash -euc").arg(script).run()?;
        fs::write(project.join("settings.toml"), &self.settings)?;
        fs::write(project.join("src/main.rs"), &self.program)?;
        let run = format!("cd '{shown}' && cargo run --quiet");
        let target = target.to_string_lossy();
        // With the target folder and the debug information of the workspace, cargo builds only the
        // crates that differ.
        let debug = env::var("CARGO_PROFILE_DEV_DEBUG");
        let debug = debug.unwrap_or_else(|_| "line-tables-only".to_owned());
        let run = Shell::new("bash -euc").arg(run).env("CARGO_TARGET_DIR", &target);
        let printed = run.env("CARGO_PROFILE_DEV_DEBUG", &debug).read()?;
        print!("{printed}");
        ensure!(
            fits(&printed, &self.prints),
            "the program printed\n{printed}where the README says\n{}",
            self.prints
        );
        Ok(())
    }
}

/// Runs each `cargo add` of the book alone, as in a new terminal.
fn add_as_the_chapters_say(project: &Path) -> Result<()> {
    let project = project.to_str().context("the temporary folder's name is not UTF-8")?;
    let mut all = 0;
    for entry in fs::read_dir(workspace::root().join("docs/src"))? {
        let text = fs::read_to_string(entry?.path())?;
        for line in text.lines().filter_map(|it| it.strip_prefix("$ cargo add ")) {
            let line = format!("cargo add --quiet {line}").replace(FOLDER, project);
            Shell::new("bash -euc").arg(line).run()?;
            all += 1;
        }
    }
    ensure!(all >= 8, "the book has {all} lines with `cargo add`; where are the others?");
    let manifest = fs::read_to_string(Path::new(project).join("Cargo.toml"))?;
    for store in ["cache-db", "cache-file", "cache-memcached", "cache-memory", "cache-redis"] {
        ensure!(manifest.contains(store), "no chapter adds {store}:\n{manifest}");
    }
    Ok(())
}

/// Whether each line is as expected, where `…` stands for any text.
fn fits(printed: &str, expected: &str) -> bool {
    let fits = |printed: &str, expected: &str| match expected.split_once('…') {
        None => printed == expected,
        Some((start, end)) => printed.starts_with(start) && printed.ends_with(end),
    };
    printed.lines().count() == expected.lines().count()
        && printed.lines().zip(expected.lines()).all(|(it, expected)| fits(it, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_all_the_steps() {
        let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
        let steps = Steps::parse(&readme).unwrap();
        assert!(steps.commands.iter().any(|it| it.contains(FOLDER)), "{steps:?}");
        assert!(steps.program.contains("fn main") && steps.settings.contains("[caches.default]"));
    }

    #[test]
    fn a_missing_step_is_named() {
        assert!(Steps::parse("# x").unwrap_err().to_string().contains(SECTION));
        let error = Steps::parse("## Five minutes\n\n```console\n$ a\n```\n").unwrap_err();
        assert!(error.to_string().contains("toml"), "{error}");
    }

    #[test]
    fn other_output_is_noticed() {
        assert!(fits("a\nb 59.9s)\n", "a\nb 59…s)\n"));
        assert!(!fits("a\nb 58.9s)\n", "a\nb 59…s)\n"));
        assert!(!fits("a\n", "a\nb\n") && !fits("", "a\n") && !fits("b\n", "a\n"));
    }
}
