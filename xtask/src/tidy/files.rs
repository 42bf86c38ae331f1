//! The files that the rules check, and which parts of them are test code.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Folders of code that only runs when someone tests or measures.
const TEST_FOLDERS: &[&str] = &[
    "benches",
    "cache-conformance",
    "cache-tests",
    "fault-tests",
    "fork-tests",
    "fuzz",
    "history-tests",
    "testing",
    "tests",
];

/// A text file of the workspace.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A line of Rust.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// Without a comment, and empty if there is nothing else.
    pub(crate) code: &'a str,
    /// Whether it is in a `#[cfg(test)]` item.
    pub(crate) in_test: bool,
}

/// Returns for each line whether a comment on it or right above it gives the reason that `marker`
/// begins.
pub(crate) fn reasoned(lines: &[Line<'_>], marker: &str) -> Vec<bool> {
    let mut above = false;
    let mut res = Vec::new();
    for line in lines {
        let here = above || line.text.contains(marker);
        res.push(here);
        // A reason may take several lines; it belongs to the line that follows.
        above = here && line.code.is_empty() && !line.text.is_empty();
    }
    res
}

/// Reads all text files under `root`, except the built ones.
pub(crate) fn read_all(root: &Path) -> Result<Vec<File>> {
    let mut res = Vec::new();
    walk(root, "", &mut res)?;
    res.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(res)
}

fn walk(folder: &Path, prefix: &str, res: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Cargo marks its target folders, wherever they are, with this file.
            let built =
                path.join("CACHEDIR.TAG").exists() || format!("{prefix}{name}") == "docs/book";
            if name != ".git" && name != "target" && !built {
                walk(&path, &format!("{prefix}{name}/"), res)?;
            }
        } else if kind.is_file() {
            // Files that are not text are skipped.
            if let Ok(text) = String::from_utf8(fs::read(&path)?) {
                res.push(File { path: format!("{prefix}{name}"), text });
            }
        }
    }
    Ok(())
}

impl File {
    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|it| it == extension)
    }

    /// Whether a folder of that name is on the path.
    pub(crate) fn is_under(&self, folder: &str) -> bool {
        self.path.rsplit('/').skip(1).any(|it| it == folder)
    }

    /// Whether all of it is test code, which runs only in tests and benchmarks.
    pub(crate) fn is_test(&self) -> bool {
        TEST_FOLDERS.iter().any(|it| self.is_under(it))
            || ["/tests.rs", "/testing.rs"].iter().any(|it| self.path.ends_with(it))
    }

    /// The lines of a Rust file.
    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        // The indent of the item under `#[cfg(test)]`: rustfmt puts its last brace under its first
        // letter.
        let mut test_end: Option<String> = None;
        let mut res = Vec::new();
        for (i, text) in self.text.lines().enumerate() {
            let trimmed = text.trim_start();
            if test_end.is_none() && is_test_attribute(trimmed) {
                test_end = Some(text.replace(trimmed, ""));
            }
            res.push(Line { number: i + 1, text, code: code(text), in_test: test_end.is_some() });
            if let Some(indent) = &test_end {
                let last = text.strip_prefix(indent.as_str()).is_some_and(|it| {
                    let one_liner =
                        !it.starts_with([' ', '#', '/']) && it.ends_with([';', '}', ',']);
                    it.starts_with('}') || one_liner
                });
                test_end = test_end.filter(|_| !last);
            }
        }
        res
    }
}

fn is_test_attribute(line: &str) -> bool {
    ["test)", "all(test", "any(test"]
        .iter()
        .any(|it| line.strip_prefix("#[cfg(").is_some_and(|rest| rest.starts_with(it)))
}

/// Returns the line without its comment. `//` inside of a string is safe, as addresses have no
/// space around it.
fn code(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_items_end_where_their_brace_does() {
        let text = "\
fn real() {}
#[cfg(test)]
mod tests {
    fn a() {
    }
}
fn real() {}
    #[cfg(test)]
    use x::{a, b};
fn real() {}
#[cfg(all(test, unix))]
/// About it.
#[derive(Debug)]
struct Fake {
    field: u8,
}
fn real() {}
#[cfg(not(test))]
fn real() {}
#[cfg(test)]
mod tests;
fn real() {}
";
        let file = File::new("a/src/lib.rs", text);
        for line in file.lines() {
            let real = line.code.starts_with("fn real") || line.code.contains("not(test)");
            assert_eq!(line.in_test, !real, "{line:?}");
        }
    }

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("    /// x.unwrap()"), "");
        assert_eq!(code("f(); // x.unwrap()"), "f();");
        assert_eq!(code("get(\"http://x\").unwrap()"), "get(\"http://x\").unwrap()");
    }

    #[test]
    fn a_reason_is_on_the_line_or_right_above() {
        let text = "\
f(); // why: here
f();
// why: a reason
// of two lines
f();
f();
// why: nothing follows

f();
";
        let file = File::new("a/src/lib.rs", text);
        let lines = file.lines();
        let reasoned = reasoned(&lines, "// why:");
        let found = lines.iter().zip(reasoned).filter(|(line, it)| *it && !line.code.is_empty());
        assert_eq!(found.map(|(line, _)| line.number).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn test_files_are_known_by_their_path() {
        for path in [
            "a/tests/x.rs",
            "a/benches/x.rs",
            "a/src/testing/x/y.rs",
            "a/src/b/tests.rs",
            "fuzz/src/x.rs",
        ] {
            assert!(File::new(path, "").is_test(), "{path}");
        }
        for path in ["a/src/lib.rs", "a/src/contests/x.rs", "tests"] {
            assert!(!File::new(path, "").is_test(), "{path}");
        }
    }

    #[test]
    fn the_walk_skips_what_is_built() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["src", "target", "elsewhere", "docs/book"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("a.rs"), "x").unwrap();
        }
        fs::write(root.path().join("elsewhere/CACHEDIR.TAG"), "").unwrap();
        fs::write(root.path().join("picture"), [0xff, 0xfe]).unwrap();
        let files = read_all(root.path()).unwrap();
        assert_eq!(files.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["src/a.rs"]);
    }
}
