//! The packages of the published crates, as `cargo publish` would upload them.

use anyhow::{Result, bail};

use crate::{shell::Shell, workspace};

/// The files of a package, beside its sources.
const FILES: &[&str] = &[
    ".cargo_vcs_info.json",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
];

/// Returns the command that makes the packages.
pub(crate) fn command() -> Result<Shell> {
    let line = Shell::new("cargo package --locked --allow-dirty --no-verify --quiet");
    Ok(published()?.iter().fold(line, |line, name| line.args("--package").arg(name)))
}

/// Makes the packages, and checks which files are in them.
pub(crate) fn check() -> Result<()> {
    command()?.run()?;
    let mut wrong = Vec::new();
    for name in published()? {
        let list = format!("cargo package --locked --allow-dirty --list --package {name}");
        let list = Shell::new(&list).read()?;
        println!("{name}: {} files", list.lines().count());
        wrong.extend(problems(&list).into_iter().map(|it| format!("\n{name}: {it}")));
    }
    if !wrong.is_empty() {
        bail!("packages are not as they should be:{}", wrong.concat());
    }
    Ok(())
}

fn published() -> Result<Vec<String>> {
    let members = workspace::members()?.into_iter();
    Ok(members.filter(|it| it.published).map(|it| it.name).collect())
}

fn problems(list: &str) -> Vec<String> {
    let files: Vec<&str> = list.lines().collect();
    // Git's file is absent in a copy without a repository, and the lock file in a library's
    // package.
    let optional = |it: &&&str| **it != ".cargo_vcs_info.json" && **it != "Cargo.lock";
    let missing = FILES.iter().filter(optional).chain(&["src/lib.rs"]);
    let missing = missing.filter(|it| !files.contains(it)).map(|it| format!("`{it}` is missing"));
    let surplus = files.iter().filter(|it| !it.starts_with("src/") && !FILES.contains(it));
    let surplus = surplus.map(|it| format!("`{it}` is of no use to those who depend on the crate"));
    missing.chain(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
Cargo.toml
Cargo.toml.orig
LICENSE-APACHE
LICENSE-MIT
README.md
src/a/b.rs
src/lib.rs
";

    #[test]
    fn whole_package_is_fine() {
        assert!(problems(WHOLE).is_empty());
    }

    #[test]
    fn missing_and_surplus_files_are_told() {
        let found = problems(&WHOLE.replace("README.md", "tests/a.rs"));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("README.md") && found[1].contains("tests/a.rs"), "{found:?}");
    }

    #[test]
    fn command_names_each_published_crate_and_no_other() {
        let command = command().unwrap().to_string();
        assert!(command.contains("--package cache-core"), "{command}");
        assert!(!command.contains("xtask") && !command.contains("fault-tests"), "{command}");
    }
}
