use std::{any::type_name, fmt};

use super::header::Corrupt;
use crate::error::{Error, ErrorKind};

/// The reason why stored bytes cannot be read as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// The bytes are intact, but not a value of the requested type.
    OtherType(Problem),
    /// A newer release or one with more features wrote the bytes.
    Foreign(&'static str),
    /// This library wrote the bytes, and they are damaged: no program can read them.
    Damaged,
}

/// The category and position of a decoding error, without the decoder's own text: that text may
/// quote the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(super) codec: &'static str,
    pub(super) what: &'static str,
    /// Line and column.
    pub(super) position: Option<(usize, usize)>,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherType(Problem { codec, what, position }) => {
                write!(
                    f,
                    "the stored bytes are not a value of the requested type: {codec}, {what}"
                )?;
                match position {
                    Some((line, column)) => write!(f, " at line {line}, column {column}"),
                    None => Ok(()),
                }
            }
            Self::Foreign(why) => f.write_str(why),
            Self::Damaged => f.write_str("the stored bytes are damaged (length or checksum)"),
        }
    }
}

impl From<Corrupt> for Undecodable {
    fn from(why: Corrupt) -> Self {
        match why {
            Corrupt::Newer => Self::Foreign("a newer release wrote the stored bytes"),
            Corrupt::Damaged => Self::Damaged,
        }
    }
}

/// Returns the error of a value that cannot be written. It names the type and does not contain the
/// value.
pub(super) fn cannot_encode<T: ?Sized>(codec: &str, why: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("the value cannot be written as {codec}: {why}"))
        .with_context("type", type_name::<T>())
}
