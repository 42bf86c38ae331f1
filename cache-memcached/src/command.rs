//! Commands of the meta protocol, and the conversion of their replies.

use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{Entry, Stamp},
};
use memcache::exp::{MetaCommand, MetaOp, ReturnCode};

use crate::{address::Address, error, lifetime, reply::Reply};

/// Reads a value.
pub(crate) fn get(key: impl Into<Vec<u8>>) -> MetaCommand {
    MetaCommand::new(MetaOp::Get, key).flag("v")
}

/// Reads a value, its remaining lifetime, and its CAS number.
pub(crate) fn get_entry(key: impl Into<Vec<u8>>) -> MetaCommand {
    get(key).flag("t").flag("c")
}

/// Checks whether an entry exists.
pub(crate) fn has(key: impl Into<Vec<u8>>) -> MetaCommand {
    MetaCommand::new(MetaOp::Get, key)
}

/// Reads the remaining lifetime of an entry.
pub(crate) fn ttl(key: impl Into<Vec<u8>>) -> MetaCommand {
    MetaCommand::new(MetaOp::Get, key).flag("t")
}

/// Sets a new lifetime. This does not change the CAS number of an entry, but appending an empty
/// value does. Therefore, callers that have read the entry before notice the change.
pub(crate) fn touch(key: &str, seconds: u64) -> [MetaCommand; 2] {
    let append = MetaCommand::new(MetaOp::Set, key).value("").flag("MA");
    [append, MetaCommand::new(MetaOp::Get, key).flag(format!("T{seconds}"))]
}

/// Writes a value.
pub(crate) fn set(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, seconds: u64) -> MetaCommand {
    MetaCommand::new(MetaOp::Set, key).value(value).flag(format!("T{seconds}"))
}

/// Deletes an entry.
pub(crate) fn delete(key: impl Into<Vec<u8>>) -> MetaCommand {
    MetaCommand::new(MetaOp::Delete, key)
}

/// Adds to a counter, which the server stores as an unsigned number of 64 bits.
pub(crate) fn add(key: impl Into<Vec<u8>>, delta: i64) -> MetaCommand {
    let command =
        MetaCommand::new(MetaOp::Arithmetic, key).flag(format!("D{}", delta.unsigned_abs()));
    if delta < 0 { command.flag("MD") } else { command.flag("MI") }
}

/// Executes the command only if the entry still has this CAS number.
pub(crate) fn if_unchanged(command: MetaCommand, stamp: Stamp) -> MetaCommand {
    command.flag(format!("C{}", stamp.0))
}

/// Returns true for a command that was executed, and false if its condition did not hold.
pub(crate) fn done(answer: &Reply, at: &Address) -> Result<bool> {
    match answer.code {
        ReturnCode::Hd | ReturnCode::Va => Ok(true),
        ReturnCode::En | ReturnCode::Ns | ReturnCode::Ex | ReturnCode::Nf => Ok(false),
        _ => Err(error::unexpected_reply(at)),
    }
}

pub(crate) fn value(answer: Reply, at: &Address) -> Result<Option<Bytes>> {
    match answer.code {
        ReturnCode::Va => {
            answer.value.map(|it| Some(it.into())).ok_or_else(|| error::unexpected_reply(at))
        }
        ReturnCode::En => Ok(None),
        _ => Err(error::unexpected_reply(at)),
    }
}

pub(crate) fn entry(answer: Reply, at: &Address) -> Result<Option<Entry>> {
    let (ttl, stamp) = (flag::<i64>(&answer, b't'), flag::<u64>(&answer, b'c'));
    let Some(value) = value(answer, at)? else { return Ok(None) };
    match (ttl, stamp) {
        // A comparison could not work, and a call that repeats it would not end.
        (_, Some(0)) => Err(error::cas_disabled(at)),
        (Some(ttl), Some(stamp)) => {
            Ok(Some(Entry::new(value, lifetime::remaining(ttl), Stamp(stamp))))
        }
        _ => Err(error::unexpected_reply(at)),
    }
}

pub(crate) fn remaining(answer: &Reply, at: &Address) -> Result<Option<Ttl>> {
    match (done(answer, at)?, flag(answer, b't')) {
        (false, _) => Ok(None),
        (true, Some(ttl)) => Ok(Some(lifetime::remaining(ttl))),
        (true, None) => Err(error::unexpected_reply(at)),
    }
}

fn flag<T: std::str::FromStr>(answer: &Reply, name: u8) -> Option<T> {
    answer.flag(name)?.parse().ok()
}
