//! `cargo xtask tidy`: the project's own rules. Also a test, so that `cargo test` runs it.

mod circles;
mod docs;
mod exceptions;
mod files;
mod manifests;
mod orphans;
mod panics;
mod prose;
mod size;
mod sleeps;
mod text;
mod violation;
mod words;

use anyhow::{Result, bail};

use self::{exceptions::Exception, files::File, violation::Violation};
use crate::workspace;

/// Checks all files. If `only` has starts of paths, it shows the violations there, and those that
/// an exception excuses too.
pub(crate) fn run(only: &[&str]) -> Result<()> {
    let files = files::read_all(workspace::root())?;
    let found = if only.is_empty() {
        excuse(check(&files), exceptions::ALL)
    } else {
        let mut found = check(&files);
        found.retain(|it| only.iter().any(|start| it.path.starts_with(start)));
        found
    };
    if found.is_empty() {
        println!("{} files are tidy", files.len());
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(|it| format!("\n{it}")).collect();
    bail!("{} violations:{}", found.len(), lines.concat())
}

fn check(files: &[File]) -> Vec<Violation> {
    let mut res = Vec::new();
    for file in files {
        res.extend(text::check(file));
        if file.has_extension("rs") || file.has_extension("md") {
            res.extend(words::check(file));
        }
        if file.has_extension("rs") {
            res.extend(size::check(file));
            res.extend(panics::check(file));
            res.extend(sleeps::check(file));
        }
    }
    res.extend(manifests::check(files));
    res.extend(docs::check(files));
    res.extend(circles::check(files));
    res.extend(orphans::check(files));
    res
}

fn excuse(mut found: Vec<Violation>, exceptions: &[Exception]) -> Vec<Violation> {
    for (path, message, reason) in exceptions {
        let before = found.len();
        found.retain(|it| !(it.path.starts_with(path) && it.message.starts_with(message)));
        if found.len() == before {
            let message = format!("nothing is left to excuse: remove the exception ({reason})");
            found.push(Violation::new(path, 0, message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        if let Err(err) = run(&[]) {
            panic!("{err:#}");
        }
    }

    #[test]
    fn the_walk_meets_the_files_that_the_rules_are_about() {
        let files = files::read_all(workspace::root()).unwrap();
        for path in ["Cargo.toml", "xtask/src/tidy.rs", "cache-core/src/lib.rs", ".ci/run"] {
            assert!(files.iter().any(|it| it.path == path), "{path}");
        }
        assert!(files.iter().all(|it| !it.path.starts_with("target/")));
    }

    #[test]
    fn every_family_of_rules_is_asked() {
        let bad = [
            File::new("a/src/lib.rs", "fn f() { x.unwrap(); } \n"),
            File::new("a/src/long.rs", &"\n".repeat(1000)),
            File::new("a/tests/t.rs", "fn f() { sleep(1); }\n"),
            File::new("a/src/forgotten.rs", ""),
            File::new("Cargo.toml", "[workspace]\nmembers = ['gone']\n"),
            File::new("README.md", "[x](gone.md)\n\nWhat ends is read.\n"),
        ];
        let found: Vec<String> = check(&bad).iter().map(ToString::to_string).collect();
        for part in [
            "a/src/lib.rs:1: a space",
            "a/src/lib.rs:1: `.unwrap()`",
            "a/src/long.rs: length: 1000 lines",
            "a/tests/t.rs:1: `sleep(`",
            "Cargo.toml: member `gone`",
            "a/src/forgotten.rs: no file declares",
            "README.md:1: `gone.md`",
            "README.md:3: prose: a sentence",
        ] {
            assert!(found.iter().any(|it| it.starts_with(part)), "{part}: {found:#?}");
        }
    }

    #[test]
    fn an_exception_covers_its_own_and_must_be_needed() {
        let found = vec![Violation::new("a/b.rs", 3, "too long"), Violation::new("c.rs", 1, "x")];
        let rest = excuse(found.clone(), &[("a/", "too long", "why")]);
        assert_eq!(rest, [Violation::new("c.rs", 1, "x")]);
        let rest = excuse(found, &[("gone", "too long", "why")]);
        assert_eq!(rest.len(), 3);
        assert!(rest[2].message.contains("nothing is left"));
    }
}
