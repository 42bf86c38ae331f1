//! Each Rust file belongs to a crate: a file that no module declares is never compiled, so nothing
//! notices when it becomes wrong.

use super::{circles::is_root, files::File, violation::Violation};

/// Returns the Rust files that no other file declares or names.
pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let sources: Vec<&File> = files.iter().filter(|it| it.has_extension("rs")).collect();
    let is_orphan = |file: &&&File| {
        !is_root(&file.path)
            && !file.path.ends_with("/build.rs")
            && !sources.iter().any(|it| declares(it, &file.path))
            && !files.iter().any(|it| it.path != file.path && names(it, &file.path))
    };
    let tell = |it: &&File| {
        Violation::new(&it.path, 0, "no file declares this module: declare it, or remove the file")
    };
    sources.iter().filter(is_orphan).map(tell).collect()
}

/// Whether a file beside or above the module declares it.
fn declares(file: &File, module: &str) -> bool {
    let module = module.strip_suffix("/mod.rs").or(module.strip_suffix(".rs")).unwrap_or(module);
    let Some((folder, name)) = module.rsplit_once('/') else { return false };
    let is_near = file.path.strip_suffix(".rs") == Some(folder)
        || file.path.rsplit_once('/').is_some_and(|(it, _)| it == folder);
    is_near
        && file.text.lines().any(|line| {
            line.trim().strip_suffix(';').is_some_and(|it| {
                it.strip_prefix("mod ").or_else(|| it.split_once(" mod ").map(|(_, it)| it))
                    == Some(name)
            })
        })
}

/// Whether a manifest or an attribute names the file by its path.
fn names(file: &File, source: &str) -> bool {
    (file.has_extension("rs") || file.has_extension("toml"))
        && source.rsplit('/').next().is_some_and(|name| {
            file.text.contains(&format!("/{name}\"")) || file.text.contains(&format!("\"{name}\""))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, text)).collect();
        check(&files).into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn file_that_no_module_declares_is_told() {
        let root = ("a/src/lib.rs", "pub(crate) mod b;\nmod e;");
        assert_eq!(told(&[root, ("a/src/c.rs", "")]), ["a/src/c.rs"]);
        assert!(told(&[root, ("a/src/b.rs", "mod d;"), ("a/src/b/d.rs", "")]).is_empty());
        assert!(told(&[root, ("a/src/e/mod.rs", "")]).is_empty());
        // Another folder's declaration of the same name does not count.
        assert_eq!(told(&[root, ("a/src/x/b.rs", "")]), ["a/src/x/b.rs"]);
    }

    #[test]
    fn file_that_an_attribute_or_a_manifest_names_is_not_told() {
        let attribute = ("a/tests/t.rs", "#[path = \"shared/raw.rs\"] mod it;");
        assert!(told(&[attribute, ("a/tests/shared/raw.rs", "")]).is_empty());
        let manifest = ("a/Cargo.toml", "[[example]]\npath = \"e/main.rs\"");
        assert!(told(&[manifest, ("a/e/main.rs", "")]).is_empty());
    }
}
