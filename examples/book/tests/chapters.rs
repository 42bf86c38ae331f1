//! The chapters are complete and tested, and their links and includes exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cache_core::layer::Operation;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src")
}

fn chapter(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// The names and texts of all chapters, in the order of the book.
fn chapters() -> Vec<(String, String)> {
    let summary = chapter("SUMMARY.md");
    let names = links(&summary).into_iter().map(|it| (it.to_owned(), chapter(it)));
    names.collect()
}

/// The fragment by which mdBook links to a heading.
fn slug(heading: &str) -> String {
    let kept = |it: &char| it.is_alphanumeric() || " -_".contains(*it);
    let text: String = heading.trim_start_matches('#').trim().chars().filter(kept).collect();
    text.to_lowercase().replace(' ', "-")
}

/// The targets of the links in a text.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|it| it.split(')').next()).collect()
}

#[test]
fn every_chapter_is_listed_and_its_snippets_are_tested() {
    let files = fs::read_dir(folder()).unwrap();
    let mut files: BTreeSet<String> =
        files.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(files.remove("SUMMARY.md"));
    // Pictures, which the test of links finds.
    files.retain(|it| !is_picture(it));
    let (summary, tested) = (chapter("SUMMARY.md"), include_str!("../src/lib.rs"));
    for file in files {
        assert!(summary.contains(&format!("({file})")), "{file} is not in SUMMARY.md");
        assert!(tested.contains(&format!("\"{file}\"")), "{file} is not in src/lib.rs");
    }
}

#[test]
fn every_rust_block_is_tested() {
    for (name, text) in chapters() {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(language) = line.strip_prefix("```").filter(|it| !it.is_empty()) else {
                continue;
            };
            let first = lines.next().unwrap_or_default();
            // `rs` marks included blocks, which are tested in their own file.
            let is_allowed = match language {
                "rs" => first.starts_with("{{#include "),
                "rust" | "toml" | "console" | "text" | "python" => true,
                _ => false,
            };
            assert!(is_allowed, "{name}: {line} {first}");
            lines.by_ref().find(|it| *it == "```").expect("the block ends");
        }
    }
}

#[test]
fn every_included_anchor_exists() {
    for (name, text) in chapters() {
        for include in text.split("{{#include ").skip(1).filter_map(|it| it.split("}}").next()) {
            let (path, anchor) = include.split_once(':').unwrap_or((include, ""));
            let file = fs::read_to_string(folder().join(path));
            let file = file.unwrap_or_else(|err| panic!("{name}: {path}: {err}"));
            // mdBook renders an unknown anchor as nothing, without an error.
            let in_code = format!("// ANCHOR: {anchor}\n");
            let in_prose = format!("<!-- ANCHOR: {anchor} -->\n");
            let found = anchor.is_empty() || file.contains(&in_code) || file.contains(&in_prose);
            assert!(found, "{name}: {path} has no anchor `{anchor}`");
        }
    }
}

#[test]
fn links_stay_in_the_book_and_find_their_heading() {
    for (name, text) in chapters() {
        for link in links(&text).into_iter().filter(|it| !it.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            assert!(folder().join(file).is_file() && !file.contains('/'), "{name}: {link}");
            let is_found =
                chapter(file).lines().any(|it| it.starts_with('#') && slug(it) == heading);
            assert!(heading.is_empty() || is_found, "{name}: {link}");
        }
    }
}

#[test]
fn every_picture_is_shown() {
    let all: String = chapters().into_iter().map(|it| it.1).collect();
    let files = fs::read_dir(folder()).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    let pictures: Vec<String> = names.filter(|it| is_picture(it)).collect();
    assert!(!pictures.is_empty());
    for it in pictures {
        assert!(all.contains(&format!("]({it})")), "no chapter shows {it}");
    }
}

#[test]
fn every_operation_is_explained() {
    let chapters = [chapter("operations.md"), chapter("failing.md")];
    // The library and its suite use it; `Cache` has no method for it.
    let internal = Operation::CompareAndDelete;
    for operation in Operation::ALL.iter().filter(|it| **it != internal) {
        for text in &chapters {
            let named =
                [format!("`{operation}`"), format!("`{operation}("), format!("`{operation}::<")];
            assert!(named.iter().any(|it| text.contains(it)), "{operation}");
        }
    }
}

#[test]
fn every_metric_and_event_is_named() {
    let text = chapter("observing.md");
    let documented = include_str!("../../../cache-core/src/telemetry.rs");
    let rows: Vec<&str> = documented.lines().filter_map(|it| it.strip_prefix("//! | ")).collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        assert!(text.contains(row), "not in the chapter: {row}");
    }
}

fn is_picture(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|it| it == "svg")
}
