//! `cargo xtask api`: compares the public items of each published crate with the lists in `api/`.
//!
//! A change of a list is seen in review: an item that disappears or changes breaks its users.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{shell::Shell, tools, workspace};

/// Without the impls that every type has.
const ITEMS: &str = "public-api --omit blanket-impls,auto-trait-impls --rustdoc-json";

/// Compares the lists, or writes them with `--bless`.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let bless = match args {
        [] => false,
        ["--bless"] => true,
        _ => bail!("`cargo xtask api` takes `--bless` and nothing else"),
    };
    let tool = tools::PUBLIC_API.get()?;
    let rustdoc = rustdoc()?;
    let folder = workspace::root().join("api");
    let mut changed = Vec::new();
    for member in workspace::members()?.iter().filter(|it| it.published) {
        let name = &member.name;
        let items = items(name, &tool, &rustdoc)?;
        let list = folder.join(format!("{name}.txt"));
        println!("{name}: {} items", items.lines().count());
        if bless {
            fs::create_dir_all(&folder)?;
            fs::write(&list, &items).with_context(|| list.display().to_string())?;
            continue;
        }
        let known = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
        if known != items {
            changed.push(format!("\napi/{name}.txt:{}", difference(&known, &items)));
        }
    }
    if !changed.is_empty() {
        bail!(
            "public items have changed; if that is meant, `cargo xtask api --bless` and a line in the \
             changelog:{}",
            changed.concat()
        );
    }
    Ok(())
}

/// Returns the public items of a crate with all features, one a line.
fn items(name: &str, tool: &Shell, rustdoc: &Path) -> Result<String> {
    let json = "-- -Z unstable-options --output-format json";
    let line =
        format!("cargo rustdoc --quiet --locked --package {name} --lib --all-features {json}");
    Shell::new(&line).env("RUSTDOC", &rustdoc.display().to_string()).run()?;
    let json = format!("doc/{}.json", name.replace('-', "_"));
    let json = workspace::target().join(json).display().to_string();
    tool.clone().args(ITEMS).arg(json).read().context(
        "cargo-public-api reads one version of rustdoc's JSON; if this is another one, \
         `PUBLIC_API` in xtask/src/tools.rs has to name a release that knows it",
    )
}

/// Writes a program that runs rustdoc with unstable options. Only rustdoc gets the variable: cargo
/// would build most dependencies again with it.
fn rustdoc() -> Result<PathBuf> {
    let path = workspace::target().join("tools").join("rustdoc-json");
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

/// Returns the lines that disappeared and those that are new.
fn difference(known: &str, items: &str) -> String {
    let only = |sign: &str, of: &str, other: &str| {
        let other: Vec<&str> = other.lines().collect();
        let lines = of.lines().filter(|it| !other.contains(it));
        lines.map(|it| format!("\n  {sign} {it}")).collect::<Vec<_>>().concat()
    };
    only("-", known, items) + &only("+", items, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_shows_lost_and_new_items() {
        let found = difference("pub fn a()\npub fn b()\n", "pub fn b()\npub fn c()\n");
        assert_eq!(found, "\n  - pub fn a()\n  + pub fn c()");
    }

    #[test]
    fn unknown_argument_is_refused() {
        assert!(run(&["--blees"]).unwrap_err().to_string().contains("--bless"));
    }
}
