//! Replies of the meta protocol.

use memcache::exp::ReturnCode;

use crate::server_errors::{self, ServerError};

/// The reply to one command.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: ReturnCode,
    /// The first line after the code and the length of the value.
    flags: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// The first line of a reply.
pub(crate) enum Line {
    /// With the length of the value that follows.
    Reply(Reply, Option<usize>),
    ServerError(&'static ServerError),
    /// A line of another protocol.
    Other,
}

/// The largest value that a server can hold.
const LARGEST: usize = 1 << 30;

impl Reply {
    /// Returns the text of a flag.
    pub(crate) fn flag(&self, name: u8) -> Option<&str> {
        let token = tokens(&self.flags).find(|it| it.first() == Some(&name))?;
        std::str::from_utf8(&token[1..]).ok()
    }

    /// Whether this is the reply to the command with this opaque number.
    pub(crate) fn is_to(&self, number: u32) -> bool {
        self.flag(b'O').and_then(|it| it.parse().ok()) == Some(number)
    }
}

/// Parses the first line of a reply, without its line end.
pub(crate) fn parse(line: &[u8]) -> Line {
    if let Some(refusal) = server_errors::find(line) {
        return Line::ServerError(refusal);
    }
    let (code, rest) = line.split_at_checked(2).unwrap_or((line, &[]));
    if !matches!(rest.first(), None | Some(b' ')) {
        return Line::Other;
    }
    let Ok(code) = ReturnCode::from_wire(code) else { return Line::Other };
    let answer = |rest: &[u8]| Reply { code, flags: rest.to_vec(), value: None };
    if code != ReturnCode::Va {
        return Line::Reply(answer(rest), None);
    }
    let len = tokens(rest).next().unwrap_or_default();
    let rest = &rest[(len.len() + 1).min(rest.len())..];
    match std::str::from_utf8(len).ok().and_then(|it| it.parse().ok()) {
        Some(len) if len <= LARGEST => Line::Reply(answer(rest), Some(len)),
        _ => Line::Other,
    }
}

fn tokens(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|it| *it == b' ').filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_length_and_flags_are_parsed() {
        let Line::Reply(answer, len) = parse(b"VA 12 t57 c7 O4294967295") else { panic!() };
        assert_eq!((answer.code, len), (ReturnCode::Va, Some(12)));
        assert_eq!(answer.flag(b't'), Some("57"));
        assert_eq!(answer.flag(b'x'), None);
        assert!(answer.is_to(u32::MAX) && !answer.is_to(1));
        let Line::Reply(answer, len) = parse(b"HD") else { panic!() };
        assert_eq!((answer.code, len, answer.flag(b'O')), (ReturnCode::Hd, None, None));
        assert!(matches!(parse(b"VA 1073741824"), Line::Reply(_, Some(LARGEST))));
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
            "-ERR unknown",
            "+OK",
            "\u{fffd}",
        ] {
            assert!(matches!(parse(line.as_bytes()), Line::Other), "{line:?}");
        }
    }
}
