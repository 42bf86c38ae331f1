//! Where the lines go: the screen, and a file if one is wanted.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};

use super::case::{HEAD, Line};

/// Shows lines as they come, so that a long run shows that it is alive.
#[derive(Debug)]
pub struct Report {
    json: Option<File>,
}

impl Report {
    /// One that also appends to a file: several builds report into one.
    pub fn new(json: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| path.display().to_string())
        };
        Ok(Self { json: json.map(open).transpose()? })
    }

    /// Opens a table, for the lines of one suite.
    pub(super) fn begin(suite: &str) {
        println!("\n## {suite}\n\n{HEAD}");
    }

    pub(super) fn add(&mut self, line: &Line<'_>) -> Result<()> {
        println!("{}", line.row());
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", line.json()?)?;
        }
        Ok(())
    }
}
