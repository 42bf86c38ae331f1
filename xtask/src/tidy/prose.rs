//! Finds the sentences of a file: in the comments of Rust, and in Markdown outside of code.

use super::files::File;

/// A sentence, or a heading.
#[derive(Debug, Default)]
pub(super) struct Sentence {
    pub(super) words: Vec<Word>,
    /// The sign that ends the sentence, unless it is a heading or a part of a list.
    pub(super) end: Option<char>,
    pub(super) is_heading: bool,
}

#[derive(Debug)]
pub(super) struct Word {
    /// Letters, digits, `'` and `-`; or one other character.
    pub(super) text: String,
    pub(super) in_lower_case: String,
    /// From 1.
    pub(super) line: usize,
}

/// Stands for code, whose words are not prose.
const CODE: &str = "`";

/// Returns all sentences of a Rust or Markdown file.
pub(super) fn sentences(file: &File) -> Vec<Sentence> {
    let lines: Vec<(usize, &str)> = if file.has_extension("rs") {
        file.text.lines().enumerate().map(|(i, line)| (i + 1, comment(line))).collect()
    } else {
        file.text.lines().enumerate().map(|(i, line)| (i + 1, line)).collect()
    };
    let mut reader = Reader::default();
    for (number, line) in lines {
        reader.line(number, line);
    }
    reader.end_block();
    reader.done
}

/// Returns the text of the comment that the line ends with, or an empty text.
pub(super) fn comment(line: &str) -> &str {
    let trimmed = line.trim_start();
    let text = if trimmed.starts_with("//") {
        trimmed
    } else {
        // Inside of a string, `//` belongs to an address and has no spaces around it.
        line.split_once(" // ").map_or("", |(_, comment)| comment)
    };
    text.trim_start_matches('/').trim_start_matches('!')
}

#[derive(Debug, Default)]
struct Reader {
    done: Vec<Sentence>,
    /// The lines of a paragraph so far, without code spans.
    block: Vec<Word>,
    in_fence: bool,
    /// Whether a code span began on an earlier line of the paragraph.
    in_code: bool,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) {
        let text = line.trim();
        if text.starts_with("```") {
            self.end_block();
            self.in_fence = !self.in_fence;
            return;
        }
        if text.is_empty() || self.in_fence {
            self.end_block();
            return;
        }
        if text.starts_with('#') {
            self.end_block();
            self.add(number, text.trim_start_matches('#'));
            self.end_sentences(true);
        } else if text.starts_with('|') {
            self.end_block();
            for cell in self.cells(text) {
                self.add(number, &cell);
                self.end_block();
            }
        } else {
            let item = list_item(text);
            if item.is_some() {
                self.end_block();
            }
            self.add(number, item.unwrap_or(text));
        }
    }

    /// Splits a table's row where `|` is not code.
    fn cells(&self, row: &str) -> Vec<String> {
        let mut in_code = self.in_code;
        let mut res = vec![String::new()];
        for c in row.chars() {
            in_code ^= c == '`';
            match res.last_mut() {
                Some(cell) if c != '|' || in_code => cell.push(c),
                _ => res.push(String::new()),
            }
        }
        res
    }

    /// Adds a line's words to the paragraph.
    fn add(&mut self, line: usize, text: &str) {
        let mut word = String::new();
        // The targets of links are addresses.
        let mut in_target = false;
        let mut before = ' ';
        for c in text.chars() {
            let part_of_word = c.is_alphanumeric() || c == '\'' || c == '-' || c == '_';
            if !part_of_word || self.in_code || in_target {
                self.push(&mut word, line);
            }
            if c == '`' {
                if !self.in_code {
                    self.push(&mut CODE.into(), line);
                }
                self.in_code = !self.in_code;
            } else if self.in_code {
            } else if in_target {
                in_target = c != ')';
            } else if c == '(' && before == ']' {
                in_target = true;
            } else if part_of_word {
                word.push(c);
            } else if c.is_whitespace() {
                // Marks where a sentence can end.
                self.push(&mut " ".into(), line);
            } else if !"*[]<>\"“”".contains(c) {
                self.push(&mut c.into(), line);
            }
            before = c;
        }
        self.push(&mut word, line);
        self.push(&mut " ".into(), line);
    }

    fn push(&mut self, text: &mut String, line: usize) {
        if !text.is_empty() {
            let in_lower_case = text.to_lowercase();
            self.block.push(Word { text: std::mem::take(text), in_lower_case, line });
        }
    }

    fn end_block(&mut self) {
        self.end_sentences(false);
    }

    fn end_sentences(&mut self, is_heading: bool) {
        self.in_code = false;
        let mut sentence = Sentence::default();
        let mut words = std::mem::take(&mut self.block).into_iter().peekable();
        while let Some(word) = words.next() {
            let followed_by_space = words.peek().is_none_or(|next| next.text == " ");
            let end = word.text.chars().next().filter(|c| ".!?".contains(*c) && followed_by_space);
            if word.text != " " {
                sentence.words.push(word);
            }
            if end.is_some() {
                self.done.push(Sentence { end, is_heading, ..std::mem::take(&mut sentence) });
            }
        }
        if !sentence.words.is_empty() {
            self.done.push(Sentence { is_heading, ..sentence });
        }
    }
}

/// Returns the text of a list's item, if the line begins one.
fn list_item(text: &str) -> Option<&str> {
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = number.strip_prefix(". ").filter(|_| number.len() < text.len());
    numbered.or_else(|| text.strip_prefix("- ")).or_else(|| text.strip_prefix("* "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> Vec<String> {
        let sentences = sentences(&File::new(path, text));
        let text = |it: &Sentence| {
            let words: Vec<&str> = it.words.iter().map(|it| it.text.as_str()).collect();
            words.join(" ")
        };
        sentences.iter().map(text).collect()
    }

    #[test]
    fn sentence_of_two_comment_lines_is_one() {
        let text = "\
/// Returns the key. A second
/// sentence.
fn f() {} // Why: a reason
";
        assert_eq!(
            read("a.rs", text),
            ["Returns the key .", "A second sentence .", "Why : a reason"]
        );
    }

    #[test]
    fn code_and_link_targets_are_left_out() {
        let text = "\
A `code
span` and [`Link`](a/who.md), v1.2.

```text
Not prose.
```
| a `x|y` | b |
# Heading
";
        assert_eq!(read("a.md", text), ["A ` and ` , v1 . 2 .", "a `", "b", "Heading"]);
    }

    #[test]
    fn list_items_and_paragraphs_end_a_sentence() {
        assert_eq!(
            read("a.md", "One\n- two\n- three\n1. four\n\nfive"),
            ["One", "two", "three", "four", "five"]
        );
    }

    #[test]
    fn words_know_their_line_and_headings_are_known() {
        let found = sentences(&File::new("a.md", "# A\n\nb\nc?"));
        assert!(found[0].is_heading && !found[1].is_heading);
        assert_eq!(found[1].words[1].line, 4);
        assert_eq!(found[1].end, Some('?'));
    }
}
