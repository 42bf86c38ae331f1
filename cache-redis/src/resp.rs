//! The replies of a server: RESP, versions 2 and 3.

use bytes::Bytes;

/// A reply, or a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Reply {
    #[default]
    Nil,
    Okay,
    Int(i64),
    Bool(bool),
    Double(f64),
    /// The decimal digits of an integer of any length.
    BigNumber(Bytes),
    /// A line other than `OK`.
    Line(Bytes),
    /// A string of any bytes.
    Bulk(Bytes),
    /// Text for people, without its format.
    Verbatim(Bytes),
    Array(Vec<Self>),
    Set(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Error(ErrorReply),
}

/// An error reply: a code and, after a space, details. The details may quote the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorReply(Box<str>);

impl ErrorReply {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(String::from_utf8_lossy(text).into())
    }

    pub(crate) fn code(&self) -> &str {
        self.0.split_once(' ').map_or(&self.0, |it| it.0)
    }

    pub(crate) fn details(&self) -> &str {
        self.0.split_once(' ').map_or("", |it| it.1)
    }
}
