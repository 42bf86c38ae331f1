//! The links of the documents lead to files that exist.

use super::{files::File, violation::Violation};

pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let mut res = Vec::new();
    for file in files.iter().filter(|it| it.has_extension("md")) {
        for (line, target) in links(&file.text) {
            if !exists(files, &resolve(&file.path, target)) {
                let message =
                    format!("`{target}` does not exist: a dead link; correct or remove it");
                res.push(Violation::new(&file.path, line, message));
            }
        }
    }
    res.extend(changelog(files));
    res
}

/// Checks that the changelog has a place for the next release, so that a change is noted at once.
fn changelog(files: &[File]) -> Option<Violation> {
    let path = "CHANGELOG.md";
    let log = files.iter().find(|it| it.path == path);
    let unreleased =
        |it: &File| it.text.lines().any(|it| it.starts_with("## ") && it.contains("Unreleased"));
    let message =
        "no `## Unreleased`: a change that has no place in it is not told to users; add it";
    (!log.is_some_and(unreleased)).then(|| Violation::new(path, 0, message))
}

/// Returns the relative links of a Markdown text, without their fragment, and their lines from 1.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut res = Vec::new();
    let mut in_code = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // `[text](target)`, and `[label]: target` on a line of its own.
        let inline = line.split("](").skip(1).filter_map(|it| it.split([')', ' ']).next());
        let label = line.strip_prefix('[').and_then(|it| it.split_once("]: "));
        let targets = inline.chain(label.and_then(|(_, it)| it.split(' ').next()));
        for target in targets.filter_map(|it| it.split('#').next()) {
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !target.is_empty() && !elsewhere {
                res.push((i + 1, target));
            }
        }
    }
    res
}

/// Returns the path from the root that a link in `from` leads to.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            // Above the root there is no file of the project: the name stays, and is not found.
            ".." if !parts.is_empty() => drop(parts.pop()),
            it => parts.push(it),
        }
    }
    parts.join("/")
}

fn exists(files: &[File], path: &str) -> bool {
    path.is_empty()
        || files.iter().any(|it| {
            it.path.strip_prefix(path).is_some_and(|it| it.is_empty() || it.starts_with('/'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<String> {
        let files = [
            File::new(path, text),
            File::new("docs/guide/keys.md", ""),
            File::new("README.md", ""),
            File::new("CHANGELOG.md", "## [Unreleased]\n"),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dead_links_are_told_with_their_line() {
        let found = told(
            "docs/a.md",
            "fine\n[x](guide/gone.md) [y](../gone/b.md#part)\n\n[z]: ../../README.md\n",
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("docs/a.md:2: `guide/gone.md`"), "{found:?}");
        assert!(found[1].starts_with("docs/a.md:2: `../gone/b.md`"), "{found:?}");
        assert!(found[2].starts_with("docs/a.md:4: `../../README.md`"), "{found:?}");
    }

    #[test]
    fn live_links_and_links_elsewhere_are_fine() {
        let text = "\
[x](guide/keys.md#part \"title\") [y](./guide/) [z](../README.md) [up](..)
[web](https://example.org/gone.md) [mail](mailto:a@example.org) [here](#part)
```text
[x](gone.md)
```
";
        assert_eq!(told("docs/a.md", text), [""; 0]);
    }

    #[test]
    fn a_changelog_without_a_place_for_changes_is_told() {
        let log = |text| check(&[File::new("CHANGELOG.md", text)]);
        assert!(log("# Changelog\n\n## [Unreleased]\n").is_empty());
        assert_eq!(log("# Changelog\n\nUnreleased\n## 1.0.0\n").len(), 1);
        assert_eq!(check(&[]).len(), 1);
    }
}
