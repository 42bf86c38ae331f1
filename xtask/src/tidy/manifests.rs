//! The manifests inherit from the root, and published crates have a page on the registry.

use toml::{Table, Value};

use super::{files::File, violation::Violation};

pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let mut res = Vec::new();
    let mut crates = Vec::new();
    let mut listed = Vec::new();
    for file in files.iter().filter(|it| it.path.rsplit('/').next() == Some("Cargo.toml")) {
        let manifest: Table = match file.text.parse() {
            Ok(it) => it,
            Err(err) => {
                res.push(Violation::new(&file.path, 0, err.to_string()));
                continue;
            }
        };
        if let Some(folder) = file.path.strip_suffix("/Cargo.toml") {
            crates.push(folder);
            let told = member(&manifest).into_iter().chain(published(&manifest));
            res.extend(told.map(|it| Violation::new(&file.path, 0, it)));
        } else {
            listed = names(&manifest, "members");
            listed.extend(names(&manifest, "exclude"));
        }
    }
    for gone in listed.iter().filter(|it| !crates.contains(&it.as_str())) {
        let message = format!("member `{gone}` does not exist: no cargo command works; remove it");
        res.push(Violation::new("Cargo.toml", 0, message));
    }
    for forgotten in crates.iter().filter(|it| !listed.iter().any(|listed| listed == *it)) {
        let message =
            format!("`{forgotten}` is not in `members`: nobody builds or tests it; add it");
        res.push(Violation::new("Cargo.toml", 0, message));
    }
    res
}

fn names(manifest: &Table, list: &str) -> Vec<String> {
    let list = manifest.get("workspace").and_then(|it| it.get(list)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

fn inherits_lints(manifest: &Table) -> bool {
    manifest.get("lints").and_then(|it| it.get("workspace")) == Some(&Value::Boolean(true))
}

/// Whether a crate that is not published has lints of its own, clippy's pedantic ones among them,
/// and denies unsafe code where it is not expected: a test of `fork` needs unsafe code, which the
/// workspace forbids.
fn is_test_crate_with_unsafe_code(manifest: &Table) -> bool {
    let is_private =
        manifest.get("package").and_then(|it| it.get("publish")) == Some(&Value::Boolean(false));
    let lint = |tool: &str, name: &str| manifest.get("lints")?.get(tool)?.get(name);
    is_private
        && lint("rust", "unsafe_code").and_then(Value::as_str) == Some("deny")
        && lint("clippy", "pedantic").is_some()
}

/// Returns the problems of a member's manifest.
fn member(manifest: &Table) -> Vec<String> {
    let mut res = Vec::new();
    let inherits = |table: &str, key: &str| {
        let table = manifest.get(table);
        table.and_then(|it| it.get(key)?.get("workspace")) == Some(&Value::Boolean(true))
    };
    if !inherits_lints(manifest) && !is_test_crate_with_unsafe_code(manifest) {
        res.push("no `[lints] workspace = true`: without it the crate has no lints at all".into());
    }
    for key in ["version", "edition", "rust-version", "license"] {
        if !inherits("package", key) {
            res.push(format!("no `{key}.workspace = true`: all crates are released as one"));
        }
    }
    for (name, value) in dependencies(manifest) {
        let inherited = value.get("workspace") == Some(&Value::Boolean(true));
        // Only a path: a dev-dependency that the published manifest leaves out.
        let here = value.get("path").is_some() && value.get("version").is_none();
        if !inherited && !here {
            res.push(format!(
                "`{name}` has its version here: two crates would drift to two versions of it; name the \
                 version in the root's [workspace.dependencies] and write `{name}.workspace = true`"
            ));
        }
    }
    res
}

/// Returns the entries that the registry and docs.rs need and do not find.
fn published(manifest: &Table) -> Vec<String> {
    let mut res = Vec::new();
    let package = manifest.get("package");
    let get = |key: &str| package.and_then(|it| it.get(key));
    if get("publish") == Some(&Value::Boolean(false)) {
        return res;
    }
    for (key, value) in [("readme", "README.md"), ("description", "")] {
        let found = get(key).and_then(Value::as_str);
        if found.is_none_or(|it| !value.is_empty() && it != value) {
            res.push(format!("no `{key}`: the registry's page of the crate would not have it"));
        }
    }
    for key in ["keywords", "categories"] {
        let count = get(key).and_then(Value::as_array).map_or(0, Vec::len);
        if !(1..=5).contains(&count) {
            res.push(format!(
                "{count} `{key}`: the registry takes 1 to 5, by which users find the crate"
            ));
        }
    }
    let docs = get("metadata").and_then(|it| it.get("docs")?.get("rs")?.get("all-features"));
    if docs != Some(&Value::Boolean(true)) {
        res.push(
            "no `[package.metadata.docs.rs] all-features = true`: docs.rs would leave out what a feature brings"
                .into(),
        );
    }
    res
}

/// Returns all dependencies, of every kind and for every platform.
fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    std::iter::once(manifest)
        .chain(platforms)
        .flat_map(|it| kinds.iter().filter_map(|kind| it.get(*kind)?.as_table()))
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[package]
name = 'a'
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
[dependencies]
serde.workspace = true
tokio = { workspace = true, features = ['rt'] }
[dev-dependencies]
a = { path = '.', features = ['testing'] }
[lints]
workspace = true
";

    fn told(text: &str) -> Vec<String> {
        member(&text.parse().unwrap())
    }

    #[test]
    fn a_crate_that_inherits_is_fine() {
        assert_eq!(told(GOOD), [""; 0]);
    }

    #[test]
    fn what_is_not_inherited_is_told() {
        assert!(told(&GOOD.replace("[lints]\nworkspace = true", ""))[0].contains("[lints]"));
        assert!(told(&GOOD.replace("[lints]\nworkspace = true", "[lints]"))[0].contains("[lints]"));
        let own = "[lints]\nrust.unsafe_code = 'deny'\nclippy.pedantic = 'warn'";
        let own = GOOD.replace("[lints]\nworkspace = true", own);
        assert!(told(&own)[0].contains("[lints]"), "published");
        let private = own.replace("[package]", "[package]\npublish = false");
        assert_eq!(told(&private), [""; 0]);
        assert!(told(&private.replace("'deny'", "'allow'"))[0].contains("[lints]"));
        for key in ["version", "edition", "rust-version", "license"] {
            let text =
                GOOD.replace(&format!("\n{key}.workspace = true"), &format!("\n{key} = '1'"));
            assert!(told(&text)[0].contains(&format!("`{key}.workspace")), "{key}");
        }
    }

    #[test]
    fn a_version_in_a_member_is_told_for_every_kind_of_dependency() {
        for (table, dependency) in [
            ("dependencies.x", "version = '1'"),
            ("dev-dependencies", "x = '1'"),
            ("build-dependencies", "x = { path = '../x', version = '1' }"),
            ("target.'cfg(unix)'.dependencies", "x = { git = 'https://example.org/x' }"),
        ] {
            let found = told(
                &format!("{GOOD}[{table}]\n{dependency}\n").replace("[dev-dependencies]\na", "#"),
            );
            assert!(found[0].starts_with("`x` has its version here"), "{table}: {found:?}");
        }
    }

    #[test]
    fn members_and_folders_must_agree() {
        let root = File::new("Cargo.toml", "[workspace]\nmembers = ['a', 'gone']\n");
        let private = GOOD.replace("[package]", "[package]\npublish = false");
        let private = |path| File::new(path, &private);
        let files = [root, private("a/Cargo.toml"), private("new/Cargo.toml")];
        let found: Vec<String> = check(&files).iter().map(ToString::to_string).collect();
        assert!(found[0].starts_with("Cargo.toml: member `gone` does not exist"), "{found:?}");
        assert!(found[1].starts_with("Cargo.toml: `new` is not in `members`"), "{found:?}");
        assert_eq!(check(&[File::new("a/Cargo.toml", "not toml")])[0].path, "a/Cargo.toml");
    }

    #[test]
    fn published_crate_without_its_page_is_told() {
        let good = "\
[package]
description = 'A'
readme = 'README.md'
keywords = ['a']
categories = ['caching']
[package.metadata.docs.rs]
all-features = true
";
        let told = |text: &str| published(&text.parse().unwrap()).len();
        assert_eq!(told(good), 0);
        for line in good.lines().filter(|it| !it.starts_with('[')) {
            assert_eq!(told(&good.replace(line, "")), 1, "{line}");
        }
        assert_eq!(told(&good.replace("README.md", "../README.md")), 1);
        assert_eq!(told(&good.replace("['a']", "['a', 'b', 'c', 'd', 'e', 'f']")), 1);
        assert_eq!(told("[package]\npublish = false"), 0);
    }
}
