//! Converts replies to the types that the operations return.

use std::time::Duration;

use crate::{error, resp::Reply};
use bytes::Bytes;
use cache_core::{
    ErrorKind, Result, Ttl,
    store::{Entry, Stamp},
};

/// Returns a string, or `None` for a null reply.
pub(crate) fn bytes(reply: Reply) -> Result<Option<Bytes>> {
    match reply {
        Reply::Nil => Ok(None),
        // Verbatim text is for people, such as the reply to `CLUSTER NODES`.
        Reply::Bulk(it) | Reply::Line(it) | Reply::Verbatim(it) => Ok(Some(it)),
        Reply::Okay => Ok(Some(Bytes::from_static(b"OK"))),
        other => Err(error::unexpected(&other)),
    }
}

/// Returns a string as text.
pub(crate) fn text(reply: Reply) -> Result<Option<String>> {
    let bytes = bytes(reply)?;
    Ok(bytes.map(|it| String::from_utf8_lossy(&it).into_owned()))
}

pub(crate) fn integer(reply: &Reply) -> Result<i64> {
    match reply {
        Reply::Int(it) => Ok(*it),
        other => Err(error::unexpected(other)),
    }
}

/// Returns whether the integer is positive.
pub(crate) fn flag(reply: &Reply) -> Result<bool> {
    integer(reply).map(|it| it > 0)
}

/// Returns true for `OK`, and false for a null reply, which means that a condition did not hold.
pub(crate) fn done(reply: &Reply) -> Result<bool> {
    match reply {
        Reply::Okay => Ok(true),
        Reply::Nil => Ok(false),
        other => Err(error::unexpected(other)),
    }
}

pub(crate) fn list(reply: Reply) -> Result<Vec<Reply>> {
    match reply {
        Reply::Array(it) | Reply::Set(it) => Ok(it),
        other => Err(error::unexpected(&other)),
    }
}

/// Whether the reply to `ROLE` says that the server takes no writes. An ACL may forbid the command.
pub(crate) fn is_replica(role: &Reply) -> bool {
    let Reply::Array(role) = role else { return false };
    matches!(role.first(), Some(Reply::Bulk(it)) if it.as_ref() != b"master")
}

/// Whether the server does not let the user run a command, or does not know it.
pub(crate) fn is_forbidden(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(it) if error::from_reply(it).kind() == ErrorKind::Backend)
}

/// Converts the reply to `PTTL`.
pub(crate) fn ttl(reply: &Reply) -> Result<Option<Ttl>> {
    Ok(match integer(reply)? {
        -2 => None,
        -1 => Some(Ttl::Forever),
        left => Some(Ttl::Remaining(Duration::from_millis(left.try_into().unwrap_or_default()))),
    })
}

/// Converts the replies to `GET`, `PEXPIRETIME` and `PTTL` in one transaction.
pub(crate) fn entry(reply: Reply) -> Result<Option<Entry>> {
    let mut parts = list(reply)?.into_iter();
    let mut next = || parts.next().unwrap_or_default();
    let (value, until, left) = (bytes(next())?, next(), next());
    // The server reads the clock for each command, so the entry may expire between two of them.
    let (Some(value), Some(ttl)) = (value, ttl(&left)?) else { return Ok(None) };
    Ok(Some(Entry::new(value, ttl, stamp(integer(&until)?))))
}

/// The absolute expiry in milliseconds. 0 means that the entry does not expire.
fn stamp(until: i64) -> Stamp {
    Stamp(until.try_into().unwrap_or_default())
}

/// Returns names and values, from an alternating list (RESP2) or a map.
pub(crate) fn pairs(reply: Reply) -> Result<Vec<(String, String)>> {
    let text = |it: Reply| text(it).map(Option::unwrap_or_default);
    match reply {
        Reply::Map(pairs) => {
            pairs.into_iter().map(|(name, it)| Ok((text(name)?, text(it)?))).collect()
        }
        other => {
            let flat: Result<Vec<_>> = list(other)?.into_iter().map(text).collect();
            Ok(flat?.chunks_exact(2).map(|it| (it[0].clone(), it[1].clone())).collect())
        }
    }
}
