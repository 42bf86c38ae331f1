//! The source of loaded values: a database that all processes share and that never fails.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
};

/// Versioned registers. A register is a file, and its version is the length of the file: appending
/// a byte is atomic, and survives the death of the process.
#[derive(Clone, Debug)]
pub struct Source(PathBuf);

impl Source {
    /// Opens the source in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Returns the version of a register; a register that was never changed has version 0.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn version(&self, register: &str) -> io::Result<u64> {
        match fs::metadata(self.0.join(register)) {
            Ok(it) => Ok(it.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Changes a register. Returns a version that includes the change.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn change(&self, register: &str) -> io::Result<u64> {
        let path = self.0.join(register);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(b".")?;
        Ok(file.metadata()?.len())
    }
}
