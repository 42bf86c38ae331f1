//! Prints lines on the screen and optionally to a file.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};

use super::case::{HEAD, Line};

/// Prints each line at once, so that a long run shows its progress.
#[derive(Debug)]
pub struct Report {
    json: Option<File>,
}

impl Report {
    /// Returns a report that also appends to a file. Several builds may use the same file.
    pub fn new(json: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| path.display().to_string())
        };
        Ok(Self { json: json.map(open).transpose()? })
    }

    /// Starts the table of a suite.
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
