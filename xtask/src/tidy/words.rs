//! How sentences are written: the words and phrases that make riddles of them, and the terms that
//! were given up.
//!
//! The one place for both lists. A plain sentence can be understood by a reader who knows Redis,
//! SQL and Rust, and has English as a second language.

use super::{
    files::File,
    prose::{self, Sentence},
    violation::Violation,
};

/// Comments in Rust are at most that wide, as code is.
const WIDTH: usize = 100;

/// Words that no sentence begins with, unless it is a question: its subject would be a clause.
const OPENINGS: &[&str] = &["what", "who", "whoever", "whatever", "that which", "that one"];

/// A phrase, the longer phrases with it that are fine, and what to write instead.
type Phrase = (&'static str, &'static [&'static str], &'static str);

const RIDDLES: &[Phrase] = &[
    ("anew", &[], "`again`, `new`"),
    ("as where", &[], "a sentence with `when`"),
    ("but behind", &[], "a sentence of its own"),
    ("but for", &[], "`except`"),
    ("by the way", &[], "nothing"),
    ("come along", &[], "what happens"),
    ("comes along", &[], "what happens"),
    ("are asked", &[], "`is called`, `is read`, `receives the request`"),
    ("are told", &[], "`are reported`, `receive`"),
    ("gave back", &[], "`returned`"),
    ("give back", &[], "`return`"),
    ("given back", &[], "`returned`"),
    ("gives back", &[], "`returns`"),
    ("are gone", &[], "`were deleted`, `have expired`, `are closed`"),
    ("has gone", &[], "`was deleted`, `has expired`, `is closed`"),
    ("is gone", &[], "`was deleted`, `has expired`, `is closed`"),
    ("in our words", &[], "what the translation is"),
    ("are none", &[], "`are not`, `are absent`"),
    ("is none", &[], "`is not a …`, `is absent`"),
    ("is nobody's", &[], "who does not own it"),
    (
        "is no",
        &[
            "there is no",
            "it is no longer",
            "is no longer",
            "is no more",
            "is no less",
            "is no later",
            "is no earlier",
        ],
        "`is not a …`",
    ),
    ("is asked", &[], "`is called`, `is read`, `receives the request`"),
    ("is told", &[], "`is reported`, `receives`"),
    ("let go", &[], "`release`"),
    ("lets go", &[], "`releases`"),
    ("look at", &[], "`read`, `check`"),
    ("looked at", &[], "`read`, `checked`"),
    ("looks at", &[], "`reads`, `checks`"),
    ("nobody", &[], "`no client`, `no caller`, `not … by any …`"),
    ("nor is what", &[], "a sentence of its own"),
    ("of a want", &[], "`because … is missing`"),
    ("somebody", &[], "`another process`, `a caller`"),
    ("that one", &["that one of"], "the thing's name"),
    ("whoever", &[], "`the caller that …`, `a process that …`"),
    ("whom", &[], "a sentence about the caller"),
    ("whomever", &[], "`any caller`"),
];

/// Words of a private language that a term of the trade has replaced.
const RETIRED: &[Phrase] = &[
    ("in doubt", &[], "`stale`"),
    ("keeper", &[], "`maintenance`"),
    ("landed", &[], "`completed`"),
    ("landings", &[], "`write epoch`"),
    ("lands", &[], "`completes`"),
    ("mover", &[], "`the caller that renames`"),
    ("owed", &[], "`pending`"),
    ("settle", &[], "`complete the pending delete`"),
    ("settled", &[], "`completed`"),
    ("settles", &[], "`completes the pending delete`"),
    ("spares", &[], "`recycled files`"),
];

pub(super) fn check(file: &File) -> Vec<Violation> {
    let mut res = Vec::new();
    // Here the words are named.
    if file.path == "xtask/src/tidy/words.rs" {
        return res;
    }
    if file.has_extension("rs") {
        res.extend(wide_comments(file));
    }
    for sentence in prose::sentences(file) {
        opening(file, &sentence, &mut res);
        phrases(file, &sentence, &mut res);
    }
    res.sort_by_key(|it| it.line);
    res
}

fn wide_comments(file: &File) -> Vec<Violation> {
    let mut res = Vec::new();
    let mut in_code = false;
    for (i, line) in file.text.lines().enumerate() {
        let text = prose::comment(line).trim();
        in_code ^= text.starts_with("```");
        in_code &= !text.is_empty() || line.trim_start().starts_with("//");
        let width = line.chars().count();
        // A row of a table, and a word that is wider, cannot be wrapped.
        if width > WIDTH && text.contains(' ') && !text.starts_with('|') && !in_code {
            let message =
                format!("prose: a comment of {width} columns, of at most {WIDTH}: wrap it");
            res.push(Violation::new(&file.path, i + 1, message));
        }
    }
    res
}

fn opening(file: &File, sentence: &Sentence, res: &mut Vec<Violation>) {
    if sentence.is_heading || sentence.end == Some('?') {
        return;
    }
    let first = |c: &str| c.chars().any(char::is_alphanumeric) || c == "`";
    let Some(start) = sentence.words.iter().position(|it| first(&it.text)) else { return };
    let words = &sentence.words[start..];
    // In a table or a list, a lower-case word begins a part of a sentence.
    if !words[0].text.starts_with(char::is_uppercase) {
        return;
    }
    if let Some(found) = OPENINGS.iter().find(|it| starts_with(sentence, start, it)) {
        let message = format!(
            "prose: a sentence begins with `{found}`: its subject is a clause; name the thing that acts"
        );
        res.push(Violation::new(&file.path, words[0].line, message));
    }
}

fn phrases(file: &File, sentence: &Sentence, res: &mut Vec<Violation>) {
    for at in 0..sentence.words.len() {
        for (phrase, fine, instead) in RIDDLES.iter().chain(RETIRED) {
            if starts_with(sentence, at, phrase)
                && !fine.iter().any(|it| surrounds(sentence, at, it, phrase))
            {
                let message =
                    format!("prose: `{phrase}`: a riddle or a retired term; write {instead}");
                res.push(Violation::new(&file.path, sentence.words[at].line, message));
            }
        }
    }
}

/// Whether the phrase's words stand there, in upper or lower case.
fn starts_with(sentence: &Sentence, at: usize, phrase: &str) -> bool {
    let mut words = sentence.words[at..].iter();
    phrase.split(' ').all(|part| words.next().is_some_and(|it| it.in_lower_case == part))
}

/// Whether the phrase that was found at a place is a part of the longer one.
fn surrounds(sentence: &Sentence, at: usize, longer: &str, phrase: &str) -> bool {
    let before = longer.find(phrase).map_or(0, |it| longer[..it].split_whitespace().count());
    at.checked_sub(before).is_some_and(|at| starts_with(sentence, at, longer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::violation::told;

    #[test]
    fn clause_as_a_subject_is_told() {
        for text in [
            "// What is gone is found.",
            "/// Fine. Who waits\n/// is woken.",
            "//! - **Whoever** comes first.",
            "f(); // That which ends.",
        ] {
            assert!(!told(check, "a/src/b.rs", text).is_empty(), "{text}");
        }
        for text in ["// What ends it?", "// # What ends", "let what = 1; // ends", "// what ends"]
        {
            assert!(told(check, "a/src/b.rs", text).is_empty(), "{text}");
        }
        assert_eq!(told(check, "a.md", "# What\n\nFine.\nWhat ends\nis fine."), [4]);
    }

    #[test]
    fn phrase_of_each_list_is_told_in_any_case_and_across_lines() {
        for (phrase, ..) in RIDDLES.iter().chain(RETIRED) {
            let text = format!("// A {} x.", phrase.to_uppercase());
            assert!(told(check, "a/src/b.rs", &text).contains(&1), "{phrase}");
        }
        assert_eq!(told(check, "a.md", "The key is\ngone."), [1]);
        assert!(told(check, "a.md", "The key is `gone`, nobodys.").is_empty());
        assert!(told(check, "a.toml", "").is_empty());
    }

    #[test]
    fn longer_phrase_that_is_plain_is_fine() {
        assert!(told(check, "a.md", "There is no key, so it is no longer read.").is_empty());
        assert_eq!(told(check, "a.md", "This is no key."), [1]);
    }

    #[test]
    fn wide_comment_that_can_be_wrapped_is_told() {
        let words = "word ".repeat(30);
        assert_eq!(told(check, "a.rs", &format!("/// {words}\n    // {words}")), [1, 2]);
        let address = format!("// https://{}", "a".repeat(100));
        let row = format!("/// | {words} |");
        let code = format!("f(\"{words}\");");
        let example = format!("/// ```\n/// f(\"{words}\");\n/// ```");
        for line in [address, row, code, example, format!("// {}", "ä ".repeat(45))] {
            assert!(told(check, "a.rs", &line).is_empty(), "{line}");
        }
    }
}
