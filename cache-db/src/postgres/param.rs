//! Parameters of statements.

use std::fmt;

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

/// An owned parameter, because a statement may outlive the call that sends it. `Debug` shows no key
/// and no value: the client logs it.
#[derive(Clone)]
pub(crate) enum Param {
    Bytes(Bytes),
    List(Vec<Bytes>),
    Int(Option<i64>),
    Float(f64),
    Bool(bool),
    Text(String),
}

/// The error type that the client expects if a parameter cannot be encoded.
type NotSent = Box<dyn std::error::Error + Sync + Send>;

impl Param {
    /// A key.
    pub(crate) fn key(key: &str) -> Self {
        Self::Bytes(Bytes::copy_from_slice(key.as_bytes()))
    }

    /// Several keys.
    pub(crate) fn keys<'a>(keys: impl Iterator<Item = &'a str>) -> Self {
        Self::List(keys.map(|it| Bytes::copy_from_slice(it.as_bytes())).collect())
    }
}

impl From<Bytes> for Param {
    fn from(it: Bytes) -> Self {
        Self::Bytes(it)
    }
}

impl From<&[u8]> for Param {
    fn from(it: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(it))
    }
}

impl From<i64> for Param {
    fn from(it: i64) -> Self {
        Self::Int(Some(it))
    }
}

impl From<Option<i64>> for Param {
    fn from(it: Option<i64>) -> Self {
        Self::Int(it)
    }
}

impl From<bool> for Param {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, NotSent> {
        self.to_sql_checked(ty, out)
    }

    /// The inner value checks its type.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, NotSent> {
        match self {
            Self::Bytes(it) => (&it[..]).to_sql_checked(ty, out),
            Self::List(it) => {
                it.iter().map(|it| &it[..]).collect::<Vec<&[u8]>>().to_sql_checked(ty, out)
            }
            Self::Int(it) => it.to_sql_checked(ty, out),
            Self::Float(it) => it.to_sql_checked(ty, out),
            Self::Bool(it) => it.to_sql_checked(ty, out),
            Self::Text(it) => it.to_sql_checked(ty, out),
        }
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}
