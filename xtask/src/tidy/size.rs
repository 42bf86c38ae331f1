//! Files stay small.

use super::{files::File, violation::Violation};

const LIMIT: usize = 400;

/// Finds long files. A file that fits on a few screens is about one thing; a longer one is about
/// several.
pub(super) fn check(file: &File) -> Vec<Violation> {
    let lines = file.text.lines().count();
    if lines <= LIMIT {
        return Vec::new();
    }
    let message = format!(
        "length: {lines} lines, of at most {LIMIT}: a file is about one thing, so split it by what it is about"
    );
    vec![Violation::new(&file.path, 0, message)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violation::told;

    #[test]
    fn a_long_file_is_told() {
        assert_eq!(told(check, "a/src/b/c.rs", &"\n".repeat(LIMIT + 1)), [0]);
        assert!(told(check, "a/src/b/c.rs", &"\n".repeat(LIMIT)).is_empty());
        assert_eq!(told(check, "a/tests/c.rs", &"\n".repeat(LIMIT + 1)), [0]);
    }
}
