//! Where the database is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A `location`, read. It may hold a password, which does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A SQLite file.
    File(PathBuf),
    /// SQLite without a file.
    Memory,
    /// A PostgreSQL server.
    Postgres(String),
}

/// What a `location` may be.
pub(crate) const EXPECTED: &str =
    "expected the path of a SQLite file, sqlite://path, :memory:, or postgres://user@host/database";

impl Location {
    /// Reads a `location`; an error says what is wrong with it, and shows nothing of it but the scheme.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("is empty; {EXPECTED}"));
        }
        if text == ":memory:" {
            return Ok(Self::Memory);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.strip_prefix("sqlite:") {
                Some(path) => Self::file(path),
                None => Self::file(text),
            };
        };
        match scheme {
            "sqlite" => Self::file(rest),
            "postgres" | "postgresql" => Ok(Self::Postgres(text.to_owned())),
            _ => Err(format!("has the unknown scheme `{scheme}`; {EXPECTED}")),
        }
    }

    fn file(path: &str) -> Result<Self, String> {
        match path {
            "" => Err(format!("names no file; {EXPECTED}")),
            ":memory:" => Ok(Self::Memory),
            _ if path.contains('\0') => Err("has a NUL in the path".into()),
            // SQLite would take these for more than a path.
            _ if path.starts_with("file:") => {
                Err("is a URI of SQLite's own; expected the path of the file alone".into())
            }
            _ if path.contains('?') => {
                Err("has a `?`, and parameters are not taken there; use the options".into())
            }
            _ => Ok(Self::File(Path::new(path).to_owned())),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File(hidden)",
            Self::Memory => "Memory",
            Self::Postgres(_) => "Postgres(hidden)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let file = |path: &str| Location::File(path.into());
        for (text, expected) in [
            ("cache.db", file("cache.db")),
            ("/var/cache/a b.db", file("/var/cache/a b.db")),
            ("sqlite://cache.db", file("cache.db")),
            ("sqlite:///var/cache.db", file("/var/cache.db")),
            ("sqlite:cache.db", file("cache.db")),
            (":memory:", Location::Memory),
            ("sqlite://:memory:", Location::Memory),
            ("postgres://u:p@h/d", Location::Postgres("postgres://u:p@h/d".into())),
            ("postgresql://h", Location::Postgres("postgresql://h".into())),
        ] {
            assert_eq!(Location::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_what_it_is() {
        for text in ["", "sqlite://", "mysql://user:marked@h/d", "file:marked", "marked?mode=ro"] {
            let error = Location::parse(text).unwrap_err();
            assert!(!error.contains("marked"), "{error}");
        }
        assert!(Location::parse("mysql://h").unwrap_err().contains("`mysql`"));
    }
}
