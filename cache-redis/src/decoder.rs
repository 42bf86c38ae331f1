//! From the bytes of a connection to replies.

use std::mem;

use bytes::{Buf as _, Bytes, BytesMut};
use cache_core::{Error, ErrorKind, Result};
use cache_net::{Decode, Decoded};

use super::resp::{ErrorReply, Reply};

/// Decodes RESP2 and RESP3, in pieces of any length. No byte is read twice: the decoder remembers
/// the aggregates that are open, and how far the current line was searched for its end.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The aggregates whose elements have not all arrived, the outermost first.
    open: Vec<Aggregate>,
    /// The string whose length was read, and its length.
    string: Option<(StringKind, usize)>,
    /// How many bytes of the current line do not contain its end.
    searched: usize,
    on_push: Option<OnPush>,
}

/// Receives push messages: they are not replies, and may arrive between any two replies.
pub(crate) type OnPush = Box<dyn FnMut(Vec<Reply>) + Send>;

struct Aggregate {
    kind: AggregateKind,
    /// How many elements are missing.
    missing: usize,
    elements: Vec<Reply>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AggregateKind {
    Array,
    Set,
    Map,
    Push,
    /// Facts about the reply after it, which no command of the store needs.
    Attribute,
}

#[derive(Clone, Copy)]
enum StringKind {
    Bulk,
    Verbatim,
    Error,
}

/// The first part of the input.
enum Part {
    Reply(Reply),
    /// The start of an aggregate or of a string.
    Start,
    Incomplete {
        missing: usize,
    },
}

/// How deep aggregates may contain each other. The replies to the store's commands have 4 levels.
const MAX_DEPTH: usize = 32;
/// The longest line. The longest lines are errors that quote the request, which servers cut off.
const MAX_LINE: usize = 64 << 10;
/// The longest string. A server stores 512 MiB at most, unless its `proto-max-bulk-len` was raised.
const MAX_STRING: usize = 1 << 30;
/// The largest number of elements.
const MAX_ELEMENTS: usize = 1 << 30;
/// A shorter string is copied. A longer one is a slice of the input, if it is most of the input's
/// buffer, which the slice keeps alive.
const MIN_SLICE: usize = 16 << 10;
/// For how many elements room is made before they arrive.
const PREALLOCATED: usize = 128;

/// The message of the error for bytes that are not RESP.
pub(crate) const NOT_RESP: &str = "protocol error: the reply is not RESP";

impl Decoder {
    pub(crate) fn new(on_push: Option<OnPush>) -> Self {
        Self { on_push, ..Self::default() }
    }

    fn part(&mut self, input: &mut BytesMut) -> Result<Part> {
        if let Some((kind, len)) = self.string {
            return self.string(input, kind, len);
        }
        let Some(end) = self.line_end(input)? else { return Ok(Part::Incomplete { missing: 1 }) };
        let (kind, line) = input[..end].split_first().ok_or_else(not_resp)?;
        let part = match (kind, line) {
            (b'+', b"OK") => Part::Reply(Reply::Okay),
            (b'+', _) => Part::Reply(Reply::Line(Bytes::copy_from_slice(line))),
            (b'-', _) => Part::Reply(Reply::Error(ErrorReply::new(line))),
            (b':', _) => Part::Reply(Reply::Int(integer(line)?)),
            (b'_', b"") | (b'$' | b'*', b"-1") => Part::Reply(Reply::Nil),
            (b'#', b"t") => Part::Reply(Reply::Bool(true)),
            (b'#', b"f") => Part::Reply(Reply::Bool(false)),
            (b',', _) => Part::Reply(Reply::Double(double(line)?)),
            (b'(', _) => Part::Reply(Reply::BigNumber(big_number(line)?)),
            (b'$', _) => self.begin_string(StringKind::Bulk, line)?,
            (b'=', _) => self.begin_string(StringKind::Verbatim, line)?,
            (b'!', _) => self.begin_string(StringKind::Error, line)?,
            (b'*', _) => self.begin_aggregate(AggregateKind::Array, line)?,
            (b'~', _) => self.begin_aggregate(AggregateKind::Set, line)?,
            (b'%', _) => self.begin_aggregate(AggregateKind::Map, line)?,
            (b'>', _) => self.begin_aggregate(AggregateKind::Push, line)?,
            (b'|', _) => self.begin_aggregate(AggregateKind::Attribute, line)?,
            _ => return Err(not_resp()),
        };
        input.advance(end + 2);
        Ok(part)
    }

    /// Returns where the CRLF of the current line is.
    fn line_end(&mut self, input: &[u8]) -> Result<Option<usize>> {
        let found = input[self.searched..].iter().position(|it| *it == b'\r');
        let end = found.map_or(input.len(), |it| self.searched + it);
        if end > MAX_LINE {
            return Err(not_resp());
        }
        match input.get(end + 1) {
            Some(b'\n') => {
                self.searched = 0;
                Ok(Some(end))
            }
            Some(_) => Err(not_resp()),
            None => {
                self.searched = end;
                Ok(None)
            }
        }
    }

    fn begin_string(&mut self, kind: StringKind, len: &[u8]) -> Result<Part> {
        self.string = Some((kind, count(len, MAX_STRING)?));
        Ok(Part::Start)
    }

    fn string(&mut self, input: &mut BytesMut, kind: StringKind, len: usize) -> Result<Part> {
        match input.get(len..len + 2) {
            None => return Ok(Part::Incomplete { missing: len + 2 - input.len() }),
            Some(b"\r\n") => {}
            Some(_) => return Err(not_resp()),
        }
        let mut bytes = if len < MIN_SLICE || len < input.capacity() / 2 {
            let copy = Bytes::copy_from_slice(&input[..len]);
            input.advance(len);
            copy
        } else {
            input.split_to(len).freeze()
        };
        input.advance(2);
        self.string = None;
        Ok(Part::Reply(match kind {
            StringKind::Bulk => Reply::Bulk(bytes),
            StringKind::Error => Reply::Error(ErrorReply::new(&bytes)),
            StringKind::Verbatim => {
                // `txt:` or `mkd:`.
                if bytes.get(3) != Some(&b':') {
                    return Err(not_resp());
                }
                bytes.advance(4);
                Reply::Verbatim(bytes)
            }
        }))
    }

    fn begin_aggregate(&mut self, kind: AggregateKind, len: &[u8]) -> Result<Part> {
        let len = count(len, MAX_ELEMENTS)?;
        let is_pairs = matches!(kind, AggregateKind::Map | AggregateKind::Attribute);
        let missing = if is_pairs { 2 * len } else { len };
        let is_inside = !self.open.is_empty();
        if self.open.len() == MAX_DEPTH || is_inside && kind == AggregateKind::Push {
            return Err(not_resp());
        }
        let elements = Vec::with_capacity(missing.min(PREALLOCATED));
        self.open.push(Aggregate { kind, missing, elements });
        Ok(Part::Start)
    }

    /// Adds an element to the innermost aggregate, and ends each aggregate that is complete.
    /// Returns the reply if it is complete.
    fn add(&mut self, mut element: Option<Reply>) -> Option<Reply> {
        loop {
            let is_outermost = self.open.len() == 1;
            let Some(inner) = self.open.last_mut() else { return element };
            if let Some(element) = element.take() {
                inner.elements.push(element);
                inner.missing -= 1;
            }
            if inner.missing > 0 {
                return None;
            }
            let elements = mem::take(&mut inner.elements);
            element = match inner.kind {
                AggregateKind::Array => match &mut self.on_push {
                    Some(on_push) if is_outermost && is_message(&elements) => {
                        on_push(elements);
                        None
                    }
                    _ => Some(Reply::Array(elements)),
                },
                AggregateKind::Set => Some(Reply::Set(elements)),
                AggregateKind::Map => Some(Reply::Map(pairs(elements))),
                AggregateKind::Push => {
                    if let Some(on_push) = &mut self.on_push {
                        on_push(elements);
                    }
                    None
                }
                AggregateKind::Attribute => None,
            };
            self.open.pop();
        }
    }
}

impl Decode for Decoder {
    type Reply = Reply;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded<Reply>> {
        loop {
            let element = match self.part(input)? {
                Part::Reply(it) => Some(it),
                Part::Start if self.string.is_some() => continue,
                Part::Start => None,
                Part::Incomplete { missing } => return Ok(Decoded::Incomplete { missing }),
            };
            if let Some(reply) = self.add(element) {
                return Ok(Decoded::Reply(reply));
            }
        }
    }
}

/// Whether an array is a message of a subscription: RESP2 has no type of its own for them. No
/// command of a connection that receives push messages has such a reply.
fn is_message(elements: &[Reply]) -> bool {
    let kinds = ["message", "subscribe", "unsubscribe", "smessage", "ssubscribe", "sunsubscribe"];
    matches!(elements.first(), Some(Reply::Bulk(it)) if kinds.iter().any(|kind| it == kind))
}

fn integer(text: &[u8]) -> Result<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(not_resp());
    }
    let mut number: i64 = 0;
    for it in digits {
        let digit = i64::from(it.wrapping_sub(b'0'));
        if digit > 9 {
            return Err(not_resp());
        }
        // Negative, because `i64::MIN` has no positive counterpart.
        number =
            number.checked_mul(10).and_then(|it| it.checked_sub(digit)).ok_or_else(not_resp)?;
    }
    if is_negative { Ok(number) } else { number.checked_neg().ok_or_else(not_resp) }
}

/// A length or a number of elements.
fn count(text: &[u8], max: usize) -> Result<usize> {
    let count = usize::try_from(integer(text)?).ok().filter(|it| *it <= max);
    count.ok_or_else(not_resp)
}

fn double(text: &[u8]) -> Result<f64> {
    let number = str::from_utf8(text).ok().and_then(|it| it.parse().ok());
    number.ok_or_else(not_resp)
}

fn big_number(text: &[u8]) -> Result<Bytes> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(not_resp());
    }
    Ok(Bytes::copy_from_slice(text))
}

fn pairs(elements: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut elements = elements.into_iter();
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    pairs
}

#[cold]
fn not_resp() -> Error {
    Error::new(ErrorKind::Unavailable, NOT_RESP)
}

// The path is for the fuzz target, which includes this file.
#[cfg(test)]
#[path = "decoder/tests.rs"]
mod tests;
