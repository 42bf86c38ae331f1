//! The modules of a crate do not depend on each other in a circle.
//!
//! A module is its file. A file depends on the file that defines what it uses: a re-export leads on
//! to the definition, and passing a name on is not a use. So a parent that only declares and
//! re-exports its children does not depend on them, and a child depends on its parent only if it
//! uses an item that the parent's file defines.

mod modules;
mod source;

use std::collections::{BTreeSet, HashMap};

use self::modules::Modules;
use super::{files::File, violation::Violation};

/// Returns the circles of all crates: libraries, programs and tests.
pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let by_path: HashMap<&str, &File> = files.iter().map(|it| (it.path.as_str(), it)).collect();
    let mut res = Vec::new();
    for file in files.iter().filter(|it| it.has_extension("rs") && is_root(&it.path)) {
        let root = file.path.as_str();
        let modules = Modules::read(&by_path, root);
        let edges = modules.edges();
        let tell = |it| Violation::new(root, 0, describe(&it, &edges));
        res.extend(circles(&edges).into_iter().map(tell));
    }
    res
}

/// Whether cargo makes a crate of this Rust file.
pub(super) fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [.., "src", "lib.rs" | "main.rs"]
        | [.., "src", "bin", _]
        | [.., "src", "bin", _, "main.rs"] => true,
        [ref above @ .., "examples" | "tests", _]
        | [ref above @ .., "examples" | "tests", _, "main.rs"] => !above.contains(&"src"),
        _ => false,
    }
}

/// Returns the sets of files that all depend on each other.
fn circles<'a>(edges: &BTreeSet<(&'a str, &'a str)>) -> Vec<BTreeSet<&'a str>> {
    let files: BTreeSet<&str> = edges.iter().map(|(from, _)| *from).collect();
    let reached: HashMap<&str, BTreeSet<&str>> =
        files.iter().map(|it| (*it, reach(it, edges))).collect();
    let mut res = Vec::new();
    let mut done = BTreeSet::new();
    for file in &files {
        let back = |other: &&&str| reached.get(**other).is_some_and(|it| it.contains(file));
        let circle: BTreeSet<&str> = reached[file].iter().filter(back).copied().collect();
        if !circle.is_empty() && done.insert(circle.clone()) {
            res.push(circle);
        }
    }
    res
}

/// Returns the files that a file depends on, directly or through others.
fn reach<'a>(file: &str, edges: &BTreeSet<(&'a str, &'a str)>) -> BTreeSet<&'a str> {
    let mut res = BTreeSet::new();
    let mut next = vec![file];
    while let Some(from) = next.pop() {
        for (_, to) in edges.iter().filter(|(it, _)| *it == from) {
            if res.insert(*to) {
                next.push(to);
            }
        }
    }
    res
}

fn describe(circle: &BTreeSet<&str>, edges: &BTreeSet<(&str, &str)>) -> String {
    let inside = edges.iter().filter(|(from, to)| circle.contains(from) && circle.contains(to));
    let inside: Vec<String> = inside.map(|(from, to)| format!("\n  {from} → {to}")).collect();
    format!(
        "circle: {} modules depend on each other: none can be understood or tested without the others; \
         move the type that they share down, or narrow a parameter:{}",
        circle.len(),
        inside.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
        check(&files).into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn modules_that_use_each_other_are_told_with_their_files() {
        let found = told(&[
            ("a/src/lib.rs", "mod b; mod c; mod d;"),
            ("a/src/b.rs", "use crate::c::C; pub struct B(C);"),
            ("a/src/c.rs", "pub struct C; fn f(x: &crate::d::D) {}"),
            ("a/src/d.rs", "use crate::b; pub struct D(b::B);"),
        ]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("circle: 3 modules"), "{found:?}");
        assert!(found[0].contains("a/src/d.rs → a/src/b.rs"), "{found:?}");
    }

    #[test]
    fn parent_that_only_reexports_is_in_no_circle() {
        let parent = "mod b; mod c; pub use self::{b::B, c::C};";
        let child = "use super::C; pub struct B(C);";
        let other = "pub struct C;";
        assert!(
            told(&[("a/src/lib.rs", parent), ("a/src/b.rs", child), ("a/src/c.rs", other)])
                .is_empty()
        );
        let uses = format!("{parent} fn f(x: B) {{}}");
        assert!(
            told(&[("a/src/lib.rs", &uses), ("a/src/b.rs", child), ("a/src/c.rs", other)])
                .is_empty()
        );
    }

    #[test]
    fn parent_and_child_that_use_each_other_are_told() {
        let parent = "mod b; pub use self::b::B; pub struct A; fn f() { b::g() }";
        let child = "use crate::A; pub struct B(A); pub fn g() {}";
        assert_eq!(told(&[("a/src/lib.rs", parent), ("a/src/b.rs", child)]).len(), 1);
        let nested = "mod b; pub struct A; mod inner { use super::b::B; }";
        assert_eq!(told(&[("a/src/lib.rs", nested), ("a/src/b.rs", child)]).len(), 1);
    }

    #[test]
    fn tests_and_other_crates_are_left_out() {
        let parent = "mod b; pub struct A; #[cfg(test)] mod tests { use super::b::B; }";
        let child = "use crate::A; use b::B; pub struct C(A, std::b::B);";
        assert!(told(&[("a/src/lib.rs", parent), ("a/src/b.rs", child)]).is_empty());
    }

    #[test]
    fn tests_and_programs_are_crates_of_their_own() {
        let root = "mod b; pub struct A; fn f(x: b::B) {}";
        let child = "pub struct B(crate::A);";
        for (root_path, child_path) in [
            ("a/src/main.rs", "a/src/b.rs"),
            ("a/src/bin/c.rs", "a/src/bin/b.rs"),
            ("a/tests/c.rs", "a/tests/b.rs"),
            ("a/tests/it/main.rs", "a/tests/it/b.rs"),
        ] {
            let found = told(&[(root_path, root), (child_path, child)]);
            assert_eq!(found.len(), 1, "{root_path}: {found:?}");
        }
        let shared = "#[path = \"../raw/mod.rs\"] mod raw; mod b;";
        let found = told(&[
            ("a/tests/it/main.rs", shared),
            ("a/tests/it/b.rs", "use crate::raw::R; pub struct B(R);"),
            ("a/tests/raw/mod.rs", "pub struct R(crate::b::B);"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
