//! Tests do not wait for time to pass.

use super::{
    files::{File, reasoned},
    violation::Violation,
};

const REASON: &str = "// sleeps:";

/// Finds sleeps without a reason. A test that sleeps is slow, and fails on a busy machine: tests
/// hold the clock, and wait for other threads by a channel or a barrier.
pub(super) fn check(file: &File) -> Vec<Violation> {
    // The tests of this rule are full of what it forbids.
    if file.is_under("xtask") {
        return Vec::new();
    }
    let lines = file.lines();
    let reasoned = reasoned(&lines, REASON);
    let all_test = file.is_test();
    let told = lines
        .iter()
        .zip(reasoned)
        .filter(|(line, reasoned)| (all_test || line.in_test) && sleeps(line.code) && !reasoned);
    told.map(|(line, _)| {
        let message = format!(
            "`sleep(` in a test: it is slow, and red on a busy machine; hold the clock or wait for a \
             signal, or say in `{REASON} …` on this line or above why only time will do"
        );
        Violation::new(&file.path, line.number, message)
    })
    .collect()
}

/// Whether the code calls a function `sleep`. A method of that name is a clock's, which tests hold.
fn sleeps(code: &str) -> bool {
    code.match_indices("sleep(").any(|(at, _)| {
        let before = &code[..at];
        let part_of_a_name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !part_of_a_name && !before.ends_with('.') && !before.ends_with("fn ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violation::told;

    #[test]
    fn a_sleeping_test_is_told() {
        let text = "fn f() {\n    thread::sleep(d);\n    sleep(d).await;\n}\n";
        assert_eq!(told(check, "a/tests/b.rs", text), [2, 3]);
        assert!(told(check, "a/src/b.rs", text).is_empty());
        let text = format!("#[cfg(test)]\nmod tests {{\n{text}\n}}\n");
        assert_eq!(told(check, "a/src/b.rs", &text), [4, 5]);
    }

    #[test]
    fn a_reason_excuses_one_line() {
        let text = "// sleeps: the server has no clock to hold\nsleep(d);\nsleep(d);\n";
        assert_eq!(told(check, "a/tests/b.rs", text), [3]);
    }

    #[test]
    fn clocks_and_definitions_do_not_sleep() {
        let text = "clock.sleep(d).await;\nfn sleep(d: Duration) {}\nno_sleep(d);\n// sleep(d)\n";
        assert!(told(check, "a/tests/b.rs", text).is_empty());
    }
}
