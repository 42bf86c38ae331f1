use std::{any::type_name, fmt};

use super::header::Corrupt;
use crate::error::{Error, ErrorKind};

/// Why stored bytes gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// The bytes are whole, but not a value of the type that was asked for.
    OtherType(Problem),
    /// A newer release wrote them, or one with more features.
    Foreign(&'static str),
    /// They were written by us, and are damaged: nobody can read them.
    Damaged,
}

/// The category and place of a decoding failure, without the text that the decoder quotes: it may be the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(super) codec: &'static str,
    pub(super) what: &'static str,
    /// Line and column.
    pub(super) place: Option<(usize, usize)>,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherType(Problem { codec, what, place }) => {
                write!(
                    f,
                    "the stored bytes are not a value of the type asked for: {codec}, {what}"
                )?;
                match place {
                    Some((line, column)) => write!(f, " at line {line}, column {column}"),
                    None => Ok(()),
                }
            }
            Self::Foreign(why) => f.write_str(why),
            Self::Damaged => f.write_str("the stored bytes are damaged"),
        }
    }
}

impl From<Corrupt> for Undecodable {
    fn from(it: Corrupt) -> Self {
        match it {
            Corrupt::Newer => Self::Foreign("the stored bytes were written by a newer release"),
            Corrupt::Damaged => Self::Damaged,
        }
    }
}

/// An encoding error names the type, and shows nothing of the value.
pub(super) fn cannot_encode<T: ?Sized>(codec: &str, why: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("the value cannot be written as {codec}: {why}"))
        .with_context("type", type_name::<T>())
}
