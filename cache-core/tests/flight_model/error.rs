//! The errors of the source under test.

pub(crate) use cache_core::{Error, ErrorKind, Result};
