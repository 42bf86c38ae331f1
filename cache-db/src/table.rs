//! The name of the table.

use std::fmt;

/// A name that databases accept, however unusual: it is always quoted in statements.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Table(String);

/// PostgreSQL truncates identifiers of more than 63 bytes; the longest one that we build is
/// `<table>_notify1_truncate`.
const MAX_LEN: usize = 40;

impl Table {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.len() > MAX_LEN {
            return Err(format!("must have 1 to {MAX_LEN} bytes"));
        }
        if name.chars().any(char::is_control) {
            return Err("contains a control character".into());
        }
        if name.to_ascii_lowercase().starts_with("sqlite_") {
            return Err("begins with `sqlite_`, which SQLite reserves".into());
        }
        Ok(Self(name.to_owned()))
    }

    /// Returns the name without quotes.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Returns the quoted name for SQL.
    pub(crate) fn quoted(&self) -> String {
        quote(&self.0)
    }

    /// Returns the quoted name of an object that belongs to the table.
    pub(crate) fn quoted_with(&self, suffix: &str) -> String {
        quote(&format!("{}_{suffix}", self.0))
    }
}

/// Writes text as a literal of PostgreSQL, whatever `standard_conforming_strings` is.
#[cfg(feature = "postgres")]
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Quotes an identifier as standard SQL does: a quote inside is doubled.
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
    fn names_are_quoted() {
        let quoted = |name: &str| Table::new(name).unwrap().quoted();
        assert_eq!(quoted("cache"), r#""cache""#);
        assert_eq!(quoted("my cache"), r#""my cache""#);
        assert_eq!(quoted(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
        assert_eq!(Table::new("a\"b").unwrap().quoted_with("meta"), r#""a""b_meta""#);
    }

    #[test]
    fn names_that_a_database_refuses_are_errors() {
        for name in ["", "a\0b", "a\nb", "sqlite_cache", "SQLite_x", &"x".repeat(41)] {
            assert!(Table::new(name).is_err(), "{name:?}");
        }
    }
}
