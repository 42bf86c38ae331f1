//! Lines of replies.

use bytes::Bytes;
pub(crate) use memcache::exp::ReturnCode;

use super::server_errors::{self, ServerError};

/// The reply to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: Code,
    pub(crate) value: Option<Bytes>,
    /// The flag `t`: the remaining lifetime in seconds, or -1.
    pub(crate) ttl: Option<i64>,
    /// The flag `c`: the CAS number.
    pub(crate) stamp: Option<u64>,
}

/// The kind of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The reply to a command of the meta protocol.
    Meta(ReturnCode),
    /// `OK`: the reply to `flush_all`.
    Flushed,
    /// `STORED`: the reply to a login.
    LoggedIn,
    /// The reply to `stats settings`, with the largest item that the server accepts.
    Settings(Option<u64>),
}

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Reply {
        reply: Reply,
        /// The length of the value that follows.
        len: Option<usize>,
        /// The flag `O`: the number of the command.
        number: Option<u32>,
    },
    ServerError(&'static ServerError),
    /// A line of the reply to `stats settings`, with the largest item if the line contains it.
    Setting(Option<u64>),
    /// The end of the reply to `stats settings`.
    EndOfSettings,
    /// A line of another protocol.
    Other,
}

/// The largest value that a server can hold.
const LARGEST: usize = 1 << 30;

impl Code {
    /// Whether the reply contains the number of its command.
    pub(super) fn is_numbered(self) -> bool {
        matches!(self, Self::Meta(code) if code != ReturnCode::Mn)
    }
}

impl From<Code> for Reply {
    fn from(code: Code) -> Self {
        Self { code, value: None, ttl: None, stamp: None }
    }
}

/// Parses a line.
pub(super) fn parse(line: &[u8]) -> Line {
    let (word, rest) = match line.iter().position(|it| *it == b' ') {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, &[][..]),
    };
    let code = match word {
        b"OK" => Code::Flushed,
        b"STORED" => Code::LoggedIn,
        b"STAT" => return Line::Setting(largest_item(rest)),
        b"END" => return Line::EndOfSettings,
        _ => match ReturnCode::from_wire(word) {
            Ok(code) => Code::Meta(code),
            Err(_) => return server_errors::find(line).map_or(Line::Other, Line::ServerError),
        },
    };
    let mut flags = rest.split(|it| *it == b' ').filter(|it| !it.is_empty());
    let len = match code {
        Code::Meta(ReturnCode::Va) => match flags.next().and_then(number) {
            Some(len) if len <= LARGEST => Some(len),
            _ => return Line::Other,
        },
        _ => None,
    };
    let mut reply = Reply::from(code);
    let mut opaque = None;
    for it in flags {
        match it[0] {
            b'O' => opaque = number(&it[1..]),
            b't' => reply.ttl = number(&it[1..]),
            b'c' => reply.stamp = number(&it[1..]),
            _ => {}
        }
    }
    Line::Reply { reply, len, number: opaque }
}

fn largest_item(setting: &[u8]) -> Option<u64> {
    setting.strip_prefix(b"item_size_max ").and_then(number)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_length_and_flags_are_parsed() {
        let value = Reply { ttl: Some(57), stamp: Some(7), ..Code::Meta(ReturnCode::Va).into() };
        for (line, reply, len, number) in [
            ("VA 12 t57 c7 O4294967295", value.clone(), Some(12), Some(u32::MAX)),
            ("VA 0 kkey t57  c7 s12 ", value, Some(0), None),
            ("VA 1073741824", Code::Meta(ReturnCode::Va).into(), Some(LARGEST), None),
            ("HD", Code::Meta(ReturnCode::Hd).into(), None, None),
            ("HD t-1", Reply { ttl: Some(-1), ..Code::Meta(ReturnCode::Hd).into() }, None, None),
            ("EN O0", Code::Meta(ReturnCode::En).into(), None, Some(0)),
            ("NF O1", Code::Meta(ReturnCode::Nf).into(), None, Some(1)),
            ("NS O2", Code::Meta(ReturnCode::Ns).into(), None, Some(2)),
            ("EX Ox", Code::Meta(ReturnCode::Ex).into(), None, None),
            ("MN", Code::Meta(ReturnCode::Mn).into(), None, None),
            ("OK", Code::Flushed.into(), None, None),
            ("STORED", Code::LoggedIn.into(), None, None),
        ] {
            assert_eq!(parse(line.as_bytes()), Line::Reply { reply, len, number }, "{line:?}");
        }
        for (line, expected) in [
            ("STAT item_size_max 1048576", Line::Setting(Some(1_048_576))),
            ("STAT item_size_max x", Line::Setting(None)),
            ("STAT maxbytes 67108864", Line::Setting(None)),
            ("END", Line::EndOfSettings),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
        }
        assert!(matches!(parse(b"ERROR"), Line::ServerError(_)));
        assert!(matches!(parse(b"SERVER_ERROR out of memory"), Line::ServerError(_)));
    }

    #[test]
    fn line_of_another_protocol_is_not_a_reply() {
        for line in [
            "",
            "H",
            "HDX",
            "VA",
            "VA x",
            "VA -1",
            "VA 1073741825",
            "VA 18446744073709551616",
            "-ERR unknown",
            "+OK",
            " HD",
            "\u{fffd}",
        ] {
            assert_eq!(parse(line.as_bytes()), Line::Other, "{line:?}");
        }
    }
}
