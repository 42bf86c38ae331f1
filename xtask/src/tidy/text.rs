//! Rules for every text file: white space, unfinished work, ignored tests.

use super::{files::File, violation::Violation};

/// In parts, so that this file does not break its own rule.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimp", "lemented!("),
];
const DEBUGGING: &str = concat!("db", "g!(");
const IGNORED: &str = concat!("#[ign", "ore");

pub(super) fn check(file: &File) -> Vec<Violation> {
    let mut res = Vec::new();
    // Their tools decide about white space, and they are not edited.
    let written_by_tools = file.path.ends_with("Cargo.lock")
        || ["proptest-regressions", "corpus", "artifacts"].iter().any(|it| file.is_under(it));
    if written_by_tools {
        return res;
    }
    let rust = file.has_extension("rs");
    for (i, line) in file.text.lines().enumerate() {
        let mut tell = |message: String| res.push(Violation::new(&file.path, i + 1, message));
        if line.ends_with([' ', '\t', '\r']) {
            tell(
                "a space at the end of the line: it shows up in every later diff; remove it".into(),
            );
        }
        if line.contains('\t') {
            tell("a tab: it is as wide as each reader's editor thinks; write spaces".into());
        }
        for word in UNFINISHED.iter().filter(|it| line.contains(*it)) {
            tell(format!(
                "`{word}`: what is not done is an issue, not a comment; do it or open one"
            ));
        }
        if rust && line.contains(DEBUGGING) {
            tell(format!("`{DEBUGGING}`: it is for your own terminal; remove it"));
        }
        if rust && (line.contains(IGNORED) || is_ignored_example(line)) {
            tell("an ignored test: nobody runs it, so it rots; make it run, or delete it".into());
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let message =
            "no line end at the end of the file: the next diff will show the last line; add it";
        res.push(Violation::new(&file.path, file.text.lines().count(), message));
    }
    res
}

/// Whether the line begins a doc example that is not compiled.
fn is_ignored_example(line: &str) -> bool {
    let comment = ["///", "//!"].iter().find_map(|it| line.trim_start().strip_prefix(it));
    let info = comment.and_then(|it| it.trim_start().strip_prefix("```"));
    info.is_some_and(|it| it.split(',').any(|it| it.trim().starts_with("ignore")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violation::told;

    #[test]
    fn white_space_that_nobody_sees_is_told() {
        assert_eq!(told(check, "a.md", "fine\nends here \n"), [2]);
        assert_eq!(told(check, "a.toml", "\tx\n"), [1]);
        assert_eq!(told(check, "a.rs", "fine\nno end"), [2]);
        for path in ["Cargo.lock", "a/proptest-regressions/b.txt", "fuzz/corpus/a/b"] {
            assert!(told(check, path, "x ").is_empty(), "{path}");
        }
    }

    #[test]
    fn unfinished_work_is_told() {
        for word in UNFINISHED {
            assert_eq!(told(check, "a/src/b.rs", &format!("fine\n// {word}\n")), [2], "{word}");
        }
        assert_eq!(told(check, "a.rs", &format!("{DEBUGGING}x)\n")), [1]);
    }

    #[test]
    fn ignored_tests_and_examples_are_told() {
        assert_eq!(told(check, "a.rs", &format!("{IGNORED}]\n{IGNORED} = \"why\"]\n")), [1, 2]);
        assert_eq!(told(check, "a.rs", "/// ```ignore\n//! ```rust,ignore-windows\n"), [1, 2]);
        assert!(told(check, "a.rs", "/// ```no_run\n/// Errors are not to ignore.\n").is_empty());
    }
}
