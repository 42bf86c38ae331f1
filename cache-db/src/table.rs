//! The name of the table.

use std::fmt;

/// A name that a database takes as it is, however odd: it is always quoted, and never part of a statement as text of its own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Table(String);

/// PostgreSQL cuts longer names off, and the longest that we add is `_meta_trigger`-like.
const MAX_LEN: usize = 40;

impl Table {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.len() > MAX_LEN {
            return Err(format!("must have 1 to {MAX_LEN} bytes"));
        }
        if name.chars().any(char::is_control) {
            return Err("holds a control character".into());
        }
        if name.to_ascii_lowercase().starts_with("sqlite_") {
            return Err("begins with `sqlite_`, which SQLite keeps for itself".into());
        }
        Ok(Self(name.to_owned()))
    }

    /// As it is called.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// The name for SQL.
    pub(crate) fn quoted(&self) -> String {
        quote(&self.0)
    }

    /// The name of what belongs to the table, for SQL.
    pub(crate) fn quoted_with(&self, suffix: &str) -> String {
        quote(&format!("{}_{suffix}", self.0))
    }
}

/// As an identifier of standard SQL, in which a quote is written twice.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_quoted() {
        let quoted = |name: &str| Table::new(name).unwrap().quoted();
        assert_eq!(quoted("cache"), r#""cache""#);
        assert_eq!(quoted("my cache"), r#""my cache""#);
        assert_eq!(quoted(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
        assert_eq!(Table::new("a\"b").unwrap().quoted_with("meta"), r#""a""b_meta""#);
    }

    #[test]
    fn what_no_database_takes_is_refused() {
        for name in ["", "a\0b", "a\nb", "sqlite_cache", "SQLite_x", &"x".repeat(41)] {
            assert!(Table::new(name).is_err(), "{name:?}");
        }
    }
}
