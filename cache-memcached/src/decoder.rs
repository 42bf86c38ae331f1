//! From bytes to replies.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Buf as _, Bytes, BytesMut};
use cache_core::{Error, ErrorKind, Result};
use cache_net::{Decode, Decoded};

use super::{
    reply::{self, Code, Line, Reply},
    server_errors::ServerError,
};

/// Splits the bytes of a server into replies. A reply with a number must belong to the command
/// whose reply is next. Otherwise the connection ends, because its replies belong to other
/// commands.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The number of the command whose reply is next.
    number: u32,
    /// Whether the reply to `stats settings` has begun.
    in_settings: bool,
    /// The largest item, if its line in that reply has arrived.
    largest_item: Option<u64>,
    /// The number of received replies, shared with the connection.
    received: Arc<AtomicU64>,
}

/// The reply to a command, or the error that the server returned instead.
pub(crate) type Received = std::result::Result<Reply, &'static ServerError>;

/// The longest line of a reply, by far.
const LINE: usize = 16 << 10;
/// Values of at least this length share the memory of the input. A smaller one is copied, because
/// it would keep the memory of all replies that arrived with it.
const SHARED: usize = 16 << 10;

impl Decoder {
    /// Creates a decoder that counts the replies here.
    pub(crate) fn new(received: Arc<AtomicU64>) -> Self {
        Self { received, ..Self::default() }
    }

    fn finish(&mut self, reply: Received) -> Decoded<Received> {
        self.number = self.number.wrapping_add(1);
        self.received.fetch_add(1, Ordering::Relaxed);
        Decoded::Reply(reply)
    }
}

impl Decode for Decoder {
    type Reply = Received;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded<Received>> {
        loop {
            let Some(end) = input.iter().take(LINE).position(|it| *it == b'\n') else {
                if input.len() >= LINE {
                    return Err(other_protocol());
                }
                return Ok(Decoded::Incomplete { missing: 1 });
            };
            let line = &input[..end];
            let line = reply::parse(line.strip_suffix(b"\r").unwrap_or(line));
            let begin = end + 1;
            match line {
                Line::Setting(found) => {
                    self.in_settings = true;
                    self.largest_item = self.largest_item.or(found);
                    input.advance(begin);
                }
                Line::EndOfSettings => {
                    input.advance(begin);
                    self.in_settings = false;
                    let found = self.largest_item.take();
                    return Ok(self.finish(Ok(Code::Settings(found).into())));
                }
                _ if self.in_settings => return Err(out_of_step()),
                Line::ServerError(error) if error.ends_the_connection => {
                    return Err(Error::new(error.kind, error.what));
                }
                Line::ServerError(error) => {
                    input.advance(begin);
                    return Ok(self.finish(Err(error)));
                }
                Line::Other => return Err(other_protocol()),
                Line::Reply { reply, number, .. }
                    if reply.code.is_numbered() && number != Some(self.number) =>
                {
                    return Err(out_of_step());
                }
                Line::Reply { reply, len: None, .. } => {
                    input.advance(begin);
                    return Ok(self.finish(Ok(reply)));
                }
                Line::Reply { mut reply, len: Some(len), .. } => {
                    let missing = (begin + len + 2).saturating_sub(input.len());
                    if missing > 0 {
                        return Ok(Decoded::Incomplete { missing });
                    }
                    if input[begin + len..][..2] != *b"\r\n" {
                        return Err(other_protocol());
                    }
                    reply.value = Some(take_value(input, begin, len));
                    return Ok(self.finish(Ok(reply)));
                }
            }
        }
    }
}

/// Removes the line before the value, the value, and the line end after it.
fn take_value(input: &mut BytesMut, begin: usize, len: usize) -> Bytes {
    // A slice of a much larger buffer would keep all of it.
    if len < SHARED || len < input.capacity() / 2 {
        let value = Bytes::copy_from_slice(&input[begin..begin + len]);
        input.advance(begin + len + 2);
        return value;
    }
    input.advance(begin);
    let value = input.split_to(len).freeze();
    input.advance(2);
    value
}

fn other_protocol() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "protocol error: the reply is not of the meta protocol of memcached",
    )
}

fn out_of_step() -> Error {
    Error::new(ErrorKind::Unavailable, "unexpected reply: it belongs to another command")
}

#[cfg(test)]
mod tests {
    use super::{super::reply::ReturnCode, *};

    /// Decodes the pieces until an error.
    fn decode(pieces: &[&[u8]]) -> (Vec<Received>, Option<Error>) {
        let (mut decoder, mut input, mut res) = (Decoder::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut input) {
                    Ok(Decoded::Reply(it)) => res.push(it),
                    Ok(Decoded::Incomplete { missing }) => {
                        assert!(missing > 0);
                        break;
                    }
                    Err(error) => return (res, Some(error)),
                }
            }
        }
        assert_eq!(decoder.received.load(Ordering::Relaxed), res.len() as u64);
        (res, None)
    }

    fn stream() -> (Vec<u8>, Vec<Received>) {
        let large = vec![b'\n'; SHARED];
        let mut bytes = b"MN\r\nVA 5 t57 c7 O1\r\na\r\n\0b\r\nEN O2\nVA 0 O3\r\n\r\n".to_vec();
        bytes.extend_from_slice(b"SERVER_ERROR object too large for cache\r\nHD O5\r\n");
        bytes.extend_from_slice(b"STAT maxbytes 1\r\nSTAT item_size_max 1048576\r\nEND\r\n");
        bytes.extend_from_slice(format!("VA {SHARED} O7\r\n").as_bytes());
        bytes.extend_from_slice(&large);
        bytes.extend_from_slice(b"\r\nNS O8\r\nOK\r\nEND\r\nEX O11\r\n");
        let value = |it: Bytes| Reply { value: Some(it), ..Code::Meta(ReturnCode::Va).into() };
        let replies = vec![
            Ok(Code::Meta(ReturnCode::Mn).into()),
            Ok(Reply { ttl: Some(57), stamp: Some(7), ..value("a\r\n\0b".into()) }),
            Ok(Code::Meta(ReturnCode::En).into()),
            Ok(value(Bytes::new())),
            Err(super::super::server_errors::find(b"SERVER_ERROR object too large for cache")
                .unwrap()),
            Ok(Code::Meta(ReturnCode::Hd).into()),
            Ok(Code::Settings(Some(1_048_576)).into()),
            Ok(value(large.into())),
            Ok(Code::Meta(ReturnCode::Ns).into()),
            Ok(Code::Flushed.into()),
            Ok(Code::Settings(None).into()),
            Ok(Code::Meta(ReturnCode::Ex).into()),
        ];
        (bytes, replies)
    }

    #[test]
    fn replies_are_the_same_however_the_bytes_are_cut() {
        let (bytes, replies) = stream();
        let (found, error) = decode(&[&bytes]);
        assert!(error.is_none() && found == replies, "{error:?}");
        // Two cuts, the second one within the next bytes. Not everywhere in the large value.
        let is_in_value = |it: &usize| (300..SHARED).contains(it);
        for first in (0..bytes.len()).filter(|it| !is_in_value(it)) {
            for second in [first, first + 1, first + 2, first + 9].map(|it| it.min(bytes.len())) {
                let (head, rest) = bytes.split_at(first);
                let (middle, tail) = rest.split_at(second - first);
                let (found, error) = decode(&[head, middle, tail]);
                assert!(error.is_none() && found == replies, "{first} {second}");
            }
        }
    }

    #[test]
    fn missing_bytes_of_a_value_are_known() {
        let mut input = BytesMut::from("VA 1000 O0\r\nabc");
        let decoded = Decoder::default().decode(&mut input).unwrap();
        assert_eq!(decoded, Decoded::Incomplete { missing: 999 });
    }

    #[test]
    fn large_value_is_copied_only_out_of_a_much_larger_buffer() {
        for (room, is_copied) in [(0, false), (SHARED / 2, false), (4 * SHARED, true)] {
            let line = format!("VA {SHARED} O0\r\n");
            let mut input = BytesMut::with_capacity(line.len() + SHARED + 2 + room);
            input.extend_from_slice(line.as_bytes());
            input.resize(line.len() + SHARED, 7);
            input.extend_from_slice(b"\r\n");
            let at = input[line.len()..].as_ptr();
            let decoded = Decoder::default().decode(&mut input);
            let Ok(Decoded::Reply(Ok(reply))) = decoded else { panic!() };
            assert_eq!(reply.value.unwrap().as_ptr() != at, is_copied, "{room}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn reply_to_another_command_ends_the_connection() {
        for bytes in [
            "HD O1\r\n",
            "HD\r\n",
            "EN O0\r\nEN O0\r\n",
            "EN O0\r\nEN O2\r\n",
            "VA 3 O1\r\n",
            "STAT a b\r\nHD O0\r\n",
            "STAT a b\r\nERROR\r\n",
        ] {
            let (_, error) = decode(&[bytes.as_bytes()]);
            let error = error.unwrap();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.message().contains("unexpected reply"), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn bytes_of_another_protocol_end_the_connection() {
        let endless = [b'x'; LINE];
        for bytes in [&b"-ERR unknown command\r\n"[..], b"\n", b"VA 3 O0\r\nabcd\r\n", &endless] {
            let (replies, error) = decode(&[bytes]);
            let error = error.unwrap();
            assert!(replies.is_empty() && error.message().contains("protocol error"), "{error}");
        }
        assert!(decode(&[&endless[1..]]).1.is_none());
    }

    #[test]
    fn error_that_ends_the_connection_is_its_error() {
        for (line, what) in [
            ("ERROR Too many open connections\r\n", "too many open connections"),
            ("CLIENT_ERROR bad data chunk\r\n", "rejected the data"),
        ] {
            let (_, error) = decode(&[line.as_bytes()]);
            assert!(error.unwrap().message().contains(what), "{line}");
        }
    }
}
