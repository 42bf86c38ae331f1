//! The slow part: reads every file of a folder and counts. It is cached for an hour.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    ops::AddAssign,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::walk::walk;

/// The number of files, lines and bytes in a folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Census {
    pub(crate) all: Count,
    pub(crate) by_language: BTreeMap<String, Count>,
    /// The number of files and folders that could not be read and are not in the other numbers.
    pub(crate) unreadable: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

impl Census {
    pub(crate) fn take(folder: &Path) -> io::Result<Self> {
        let mut res = Self::default();
        let mut unreadable_files = 0;
        let unreadable_folders = walk(folder, |entry| match count(&entry.path()) {
            Ok(count) => {
                let language = language(&entry.path());
                *res.by_language.entry(language.to_owned()).or_default() += count;
                res.all += count;
            }
            Err(_) => unreadable_files += 1,
        })?;
        res.unreadable = unreadable_folders + unreadable_files;
        Ok(res)
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// Counts one file. A file with a zero byte is not a text: it has no lines, and is not read to its
/// end.
fn count(path: &Path) -> io::Result<Count> {
    let mut file = File::open(path)?;
    let mut res = Count { files: 1, lines: 0, bytes: file.metadata()?.len() };
    let mut last = b'\n';
    let mut buffer = vec![0; 64 << 10];
    loop {
        let chunk = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => &buffer[..len],
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(err),
        };
        if chunk.contains(&0) {
            return Ok(Count { lines: 0, ..res });
        }
        res.lines += chunk.split(|it| *it == b'\n').count() as u64 - 1;
        last = chunk[chunk.len() - 1];
    }
    // The last line counts also without a line break at its end.
    res.lines += u64::from(last != b'\n');
    Ok(res)
}

fn language(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "c" | "h" => "C",
        "cc" | "cpp" | "cxx" | "hpp" => "C++",
        "cs" => "C#",
        "css" | "scss" => "CSS",
        "go" => "Go",
        "htm" | "html" => "HTML",
        "java" => "Java",
        "js" | "jsx" | "mjs" => "JavaScript",
        "json" => "JSON",
        "kt" => "Kotlin",
        "md" => "Markdown",
        "php" => "PHP",
        "py" => "Python",
        "rb" => "Ruby",
        "rs" => "Rust",
        "bash" | "sh" => "Shell",
        "sql" => "SQL",
        "swift" => "Swift",
        "toml" => "TOML",
        "ts" | "tsx" => "TypeScript",
        "txt" => "Text",
        "yaml" | "yml" => "YAML",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_lines_and_bytes_are_counted_by_language() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("src")).unwrap();
        for (path, text) in [
            ("src/a.rs", "one\ntwo\n"),
            ("src/B.RS", "one\nnot ended"),
            ("notes", ""),
            ("picture", "\0\n\n"),
        ] {
            fs::write(root.path().join(path), text).unwrap();
        }
        let census = Census::take(root.path()).unwrap();
        assert_eq!(census.by_language["Rust"], Count { files: 2, lines: 4, bytes: 21 });
        assert_eq!(census.by_language["other"], Count { files: 2, lines: 0, bytes: 3 });
        assert_eq!(census.all, Count { files: 4, lines: 4, bytes: 24 });
        assert_eq!(census.unreadable, 0);
    }

    #[test]
    fn file_larger_than_the_buffer_is_counted_to_its_end() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.txt"), "0123456\n".repeat(20_000)).unwrap();
        let all = Census::take(root.path()).unwrap().all;
        assert_eq!(all, Count { files: 1, lines: 20_000, bytes: 160_000 });
    }

    #[cfg(unix)]
    #[test]
    fn unreadable_file_is_counted_and_not_an_error() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed.rs");
        fs::write(&closed, "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let census = Census::take(root.path()).unwrap();
        // Root reads everything.
        let readable = File::open(&closed).is_ok();
        assert_eq!(census.unreadable, u64::from(!readable));
        assert_eq!(census.all.files, u64::from(readable));
    }
}
