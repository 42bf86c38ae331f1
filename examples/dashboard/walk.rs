//! The files of a folder, for both parts of the dashboard.

use std::{
    ffi::OsStr,
    fs::{self, DirEntry},
    io,
    path::Path,
};

/// Calls `visit` for every file under `folder`, and returns the number of folders that could not be
/// read.
///
/// Hidden files, build output and symbolic links are skipped.
///
/// # Errors
/// Only if `folder` itself cannot be read.
pub(crate) fn walk(folder: &Path, mut visit: impl FnMut(&DirEntry)) -> io::Result<u64> {
    let mut unreadable = 0;
    let mut waiting = vec![fs::read_dir(folder)?];
    while let Some(entries) = waiting.pop() {
        for entry in entries {
            let Ok((entry, kind)) = entry.and_then(|it| it.file_type().map(|kind| (it, kind)))
            else {
                unreadable += 1;
                continue;
            };
            if is_hidden(&entry.file_name()) {
                continue;
            }
            if kind.is_file() {
                visit(&entry);
            } else if kind.is_dir() && !is_built(&entry.path()) {
                match fs::read_dir(entry.path()) {
                    Ok(entries) => waiting.push(entries),
                    Err(_) => unreadable += 1,
                }
            }
        }
    }
    Ok(unreadable)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether a folder has build output, which Cargo and other tools mark with a tag file.
fn is_built(folder: &Path) -> bool {
    let named = ["target", "node_modules"].iter().any(|it| folder.ends_with(it));
    named || folder.join("CACHEDIR.TAG").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(folder: &Path) -> Vec<String> {
        let mut res = Vec::new();
        let unreadable = walk(folder, |it| res.push(it.file_name().into_string().unwrap()));
        assert_eq!(unreadable.unwrap(), 0);
        res.sort();
        res
    }

    #[test]
    fn hidden_files_and_build_output_are_skipped() {
        let root = tempfile::tempdir().unwrap();
        for path in
            ["a/b/c.rs", ".git/x", "target/x", "node_modules/x", "out/x", "out/CACHEDIR.TAG"]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(root.path().join(".hidden"), "").unwrap();
        assert_eq!(seen(root.path()), ["c.rs"]);
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("real"), "").unwrap();
        std::os::unix::fs::symlink("real", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("..", root.path().join("loop")).unwrap();
        assert_eq!(seen(root.path()), ["real"]);
    }

    #[test]
    fn missing_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = walk(&root.path().join("missing"), |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
