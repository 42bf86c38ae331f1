//! The outcomes of commands, read from their replies.

use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{Entry, Stamp},
};

use crate::{
    address::Address,
    error, lifetime,
    moment::Applied,
    reply::{Code, Reply, ReturnCode},
};

/// Returns true for a command that was executed, and false if its condition did not hold.
pub(crate) fn done(reply: &Reply, at: &Address) -> Result<bool> {
    match reply.code {
        Code::Meta(ReturnCode::Hd | ReturnCode::Va) => Ok(true),
        Code::Meta(ReturnCode::En | ReturnCode::Ns | ReturnCode::Ex | ReturnCode::Nf) => Ok(false),
        _ => Err(error::unexpected_reply(at)),
    }
}

/// Returns the outcome of a command about an entry that was read, or of one that was not sent.
pub(crate) fn applied(reply: Option<&Reply>, at: &Address) -> Result<Applied> {
    let Some(reply) = reply else { return Ok(Applied::ReadAgain) };
    Ok(if done(reply, at)? { Applied::Done } else { Applied::Changed })
}

/// Returns the value that was read.
pub(crate) fn value(reply: Reply, at: &Address) -> Result<Option<Bytes>> {
    match (reply.code, reply.value) {
        (Code::Meta(ReturnCode::Va), Some(value)) => Ok(Some(value)),
        (Code::Meta(ReturnCode::En), _) => Ok(None),
        _ => Err(error::unexpected_reply(at)),
    }
}

/// Returns the entry that was read.
pub(crate) fn entry(reply: Reply, at: &Address) -> Result<Option<Entry>> {
    let (ttl, stamp) = (reply.ttl, reply.stamp);
    let Some(value) = value(reply, at)? else { return Ok(None) };
    match (ttl, stamp) {
        // A comparison could not work, and a call that repeats it would not end.
        (_, Some(0)) => Err(error::cas_disabled(at)),
        (Some(ttl), Some(stamp)) => {
            Ok(Some(Entry::new(value, lifetime::remaining(ttl), Stamp(stamp))))
        }
        _ => Err(error::unexpected_reply(at)),
    }
}

/// Returns the remaining lifetime that was read.
pub(crate) fn remaining(reply: &Reply, at: &Address) -> Result<Option<Ttl>> {
    match (done(reply, at)?, reply.ttl) {
        (false, _) => Ok(None),
        (true, Some(ttl)) => Ok(Some(lifetime::remaining(ttl))),
        (true, None) => Err(error::unexpected_reply(at)),
    }
}
