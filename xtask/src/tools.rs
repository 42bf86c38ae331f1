//! Tools that are not a part of Rust: installed on this machine, or under `target/tools`.

use std::{env, path::PathBuf};

use anyhow::Result;

use crate::{shell::Shell, workspace};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The command that runs an installed one.
    by_hand: &'static str,
    /// The name of its program.
    pub(crate) program: &'static str,
    /// The arguments of `cargo install`.
    package: &'static str,
    /// Whether another version would print something else.
    is_exact: bool,
}

pub(crate) const DENY: Tool = Tool {
    by_hand: "cargo deny",
    program: "cargo-deny",
    package: "cargo-deny@0.20.2",
    is_exact: false,
};

/// Without server and search, which `mdbook build` does not need.
pub(crate) const MDBOOK: Tool = Tool {
    by_hand: "mdbook",
    program: "mdbook",
    package: "mdbook@0.5.4 --no-default-features",
    is_exact: false,
};

/// Reads version 57 of rustdoc's JSON, which Rust 1.95 writes.
pub(crate) const PUBLIC_API: Tool = Tool {
    by_hand: "cargo-public-api",
    program: "cargo-public-api",
    package: "cargo-public-api@0.52.0",
    is_exact: true,
};

impl Tool {
    /// Returns the tool, if it is installed.
    pub(crate) fn find(&self) -> Option<Shell> {
        let machine = Shell::new(self.by_hand);
        let own = self.own_program().exists().then(|| self.own());
        Some(machine).into_iter().chain(own).find(|it| {
            let version = it.clone().args("--version").peek();
            version.is_some_and(|it| !self.is_exact || it.contains(self.version()))
        })
    }

    fn version(&self) -> &str {
        let package = self.package.split(' ').next().unwrap_or(self.package);
        package.split_once('@').map_or("", |(_, version)| version)
    }

    /// Returns the tool, which is installed under `target/tools` if it is missing.
    pub(crate) fn get(&self) -> Result<Shell> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        self.install().run()?;
        Ok(self.own())
    }

    /// Returns the command that installs the tool under `target/tools`.
    pub(crate) fn install(&self) -> Shell {
        // Unoptimised: it builds in a third of the time, and runs for a second.
        Shell::new(&format!("cargo install --locked --debug --quiet {} --root", self.package))
            .arg(folder().display().to_string())
    }

    /// Returns the tool under `target/tools`.
    pub(crate) fn own(&self) -> Shell {
        Shell::program(self.own_program().display().to_string())
    }

    fn own_program(&self) -> PathBuf {
        folder().join("bin").join(format!("{}{}", self.program, env::consts::EXE_SUFFIX))
    }
}

fn folder() -> PathBuf {
    workspace::target().join("tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_one_that_is_installed() {
        assert_eq!(MDBOOK.version(), "0.5.4");
        assert!(MDBOOK.install().to_string().contains("mdbook@0.5.4 --no-default-features --root"));
    }

    #[test]
    fn tool_of_another_version_is_not_taken_where_the_output_depends_on_it() {
        let cargo = |version, is_exact| Tool {
            by_hand: "cargo",
            program: "no-such-program",
            package: version,
            is_exact,
        };
        assert!(cargo("cargo@0.0.0", false).find().is_some());
        assert!(cargo("cargo@0.0.0", true).find().is_none());
        assert!(cargo("cargo@1.", true).find().is_some());
    }
}
