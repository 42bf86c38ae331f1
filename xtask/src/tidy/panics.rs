//! The library does not panic by accident.

use super::{
    files::{File, reasoned},
    violation::Violation,
};

const PANICS: &[&str] = &[
    ".unwrap()",
    ".unwrap_err()",
    ".expect(",
    ".expect_err(",
    "panic!(",
    "unreachable!(",
    "assert!(",
    "assert_eq!(",
    "assert_ne!(",
];
const REASON: &str = "// panics:";

/// Finds panics without a reason. A cache is optional and must not take its service down; where a
/// panic is promised or cannot happen, the line says so.
pub(super) fn check(file: &File) -> Vec<Violation> {
    if file.is_test() || file.is_under("examples") || file.is_under("xtask") {
        return Vec::new();
    }
    let lines = file.lines();
    let reasoned = reasoned(&lines, REASON);
    let told = lines.iter().zip(reasoned).filter(|(line, reasoned)| !line.in_test && !reasoned);
    told.filter_map(|(line, _)| {
        let found = PANICS.iter().find(|it| panics(line.code, it))?;
        let message = format!(
            "`{found}` outside of tests: a cache must not take its service down; return an error, \
             or say in `{REASON} …` on this line or above why it cannot happen or is promised"
        );
        Some(Violation::new(&file.path, line.number, message))
    })
    .collect()
}

/// Whether the code contains the word, not as the end of another one: `debug_assert!` is for tests.
fn panics(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let longer = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        word.starts_with('.') || !longer
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violation::told;

    #[test]
    fn a_panic_without_a_reason_is_told() {
        for panic in PANICS {
            let text = format!("fn f() {{\n    let x = (y){panic};\n}}\n");
            assert_eq!(told(check, "a/src/lib.rs", &text), [2], "{panic}");
            assert!(told(check, "a/tests/b.rs", &text).is_empty(), "{panic}");
            assert!(told(check, "xtask/src/b.rs", &text).is_empty(), "{panic}");
            assert!(told(check, "examples/b.rs", &text).is_empty(), "{panic}");
            let text = format!("#[cfg(test)]\nmod tests {{\n{text}\n}}\n");
            assert!(told(check, "a/src/lib.rs", &text).is_empty(), "{panic}");
        }
    }

    #[test]
    fn a_reason_excuses_one_line() {
        let text = "a.unwrap(); // panics: never, it is a constant\nb.unwrap();\n";
        assert_eq!(told(check, "a/src/lib.rs", text), [2]);
        let text = "// panics: never, as\n// there is one.\na.unwrap();\nb.unwrap();\n";
        assert_eq!(told(check, "a/src/lib.rs", text), [4]);
    }

    #[test]
    fn words_in_comments_and_other_methods_are_fine() {
        let text =
            "/// x.unwrap()\n// panic!(\nx.unwrap_or(1);\nself.expected();\ndebug_assert!(x);\n";
        assert!(told(check, "a/src/lib.rs", text).is_empty());
    }
}
