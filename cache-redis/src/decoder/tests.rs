//! All types of replies, in pieces.

use std::sync::{Arc, Mutex};

use super::*;

/// Decodes bytes in pieces that end at these places.
fn decode(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Reply>> {
    let (mut decoder, mut input, mut replies) = (Decoder::default(), BytesMut::new(), vec![]);
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        input.extend_from_slice(&bytes[from..to]);
        from = to;
        loop {
            let had = input.len();
            match decoder.decode(&mut input)? {
                Decoded::Reply(reply) => replies.push(reply),
                Decoded::Incomplete { missing } => {
                    assert!(missing > 0 && input.len() <= had);
                    break;
                }
            }
        }
    }
    assert!(input.is_empty() && decoder.open.is_empty() && decoder.string.is_none());
    Ok(replies)
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.to_owned().into())
}

fn error(text: &str) -> Reply {
    Reply::Error(ErrorReply::new(text.as_bytes()))
}

/// All types, and the reply to each.
fn examples() -> Vec<(&'static str, Reply)> {
    let array = |it: &[Reply]| Reply::Array(it.to_vec());
    let digits = "3492890328409238509324850943850943825024385";
    vec![
        ("+OK\r\n", Reply::Okay),
        ("+PONG\r\n", Reply::Line("PONG".into())),
        ("+\r\n", Reply::Line(Bytes::new())),
        ("-ERR unknown command\r\n", error("ERR unknown command")),
        ("-LOADING\r\n", error("LOADING")),
        (":0\r\n", Reply::Int(0)),
        (":+7\r\n", Reply::Int(7)),
        (":9223372036854775807\r\n", Reply::Int(i64::MAX)),
        (":-9223372036854775808\r\n", Reply::Int(i64::MIN)),
        ("$5\r\na\r\nbc\r\n", bulk("a\r\nbc")),
        ("$0\r\n\r\n", bulk("")),
        ("$-1\r\n", Reply::Nil),
        ("*-1\r\n", Reply::Nil),
        ("_\r\n", Reply::Nil),
        ("#t\r\n", Reply::Bool(true)),
        ("#f\r\n", Reply::Bool(false)),
        (",1.25\r\n", Reply::Double(1.25)),
        (",-inf\r\n", Reply::Double(f64::NEG_INFINITY)),
        ("(3492890328409238509324850943850943825024385\r\n", Reply::BigNumber(digits.into())),
        ("(-1\r\n", Reply::BigNumber("-1".into())),
        ("!12\r\nERR two\r\nlin\r\n", error("ERR two\r\nlin")),
        ("=9\r\ntxt:a\r\nbc\r\n", Reply::Verbatim("a\r\nbc".into())),
        ("*0\r\n", array(&[])),
        ("*2\r\n$1\r\na\r\n*1\r\n_\r\n", array(&[bulk("a"), array(&[Reply::Nil])])),
        ("*2\r\n*0\r\n*1\r\n:1\r\n", array(&[array(&[]), array(&[Reply::Int(1)])])),
        ("~1\r\n:1\r\n", Reply::Set(vec![Reply::Int(1)])),
        ("%1\r\n+a\r\n%0\r\n", {
            Reply::Map(vec![(Reply::Line("a".into()), Reply::Map(Vec::new()))])
        }),
        ("|1\r\n+ttl\r\n*1\r\n:3\r\n:7\r\n", Reply::Int(7)),
        ("|0\r\n*1\r\n|1\r\n:1\r\n:2\r\n:7\r\n", array(&[Reply::Int(7)])),
        (">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:7\r\n", Reply::Int(7)),
    ]
}

#[test]
fn each_type_is_decoded_in_pieces_with_any_cut() {
    for (bytes, expected) in examples() {
        let bytes = bytes.as_bytes();
        for cut in 0..=bytes.len() {
            assert_eq!(
                decode(bytes, &[cut]).unwrap(),
                std::slice::from_ref(&expected),
                "{bytes:?} {cut}"
            );
        }
        let all: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(decode(bytes, &all).unwrap(), [expected], "{bytes:?}");
    }
}

#[test]
fn consecutive_replies_are_decoded_with_any_two_cuts() {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for (example, reply) in examples() {
        bytes.extend_from_slice(example.as_bytes());
        expected.push(reply);
    }
    for first in 0..bytes.len() {
        let second = first + (bytes.len() - first) / 2;
        assert_eq!(decode(&bytes, &[first, second]).unwrap(), expected);
    }
}

#[test]
fn other_bytes_are_an_error() {
    for bytes in [
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "+a\rb\r\n",
        ":\r\n",
        ":-\r\n",
        ":1a\r\n",
        ":9223372036854775808\r\n",
        ":-9223372036854775809\r\n",
        "$-2\r\n",
        "$?\r\n",
        "$1073741825\r\n",
        "$1\r\nabc",
        "*1073741825\r\n",
        "*-2\r\n",
        "%-1\r\n",
        ",\r\n",
        "#x\r\n",
        "(1x\r\n",
        "_x\r\n",
        "=2\r\nab\r\n",
        "*1\r\n>0\r\n",
    ] {
        let cuts: Vec<usize> = (0..bytes.len()).collect();
        for cuts in [&[][..], &cuts] {
            let error = decode(bytes.as_bytes(), cuts).unwrap_err();
            assert_eq!(error.message(), NOT_RESP, "{bytes:?}");
        }
    }
    let deep = "*1\r\n".repeat(MAX_DEPTH);
    assert!(decode(format!("{deep}:1\r\n").as_bytes(), &[]).is_ok());
    assert!(decode(format!("{deep}*1\r\n:1\r\n").as_bytes(), &[]).is_err());
    assert!(decode(&vec![b'+'; MAX_LINE + 2], &[]).is_err());
}

#[test]
fn long_string_is_a_slice_unless_it_would_keep_a_large_buffer() {
    for (len, room, is_slice) in
        [(MIN_SLICE - 1, 0, false), (MIN_SLICE, 0, true), (MIN_SLICE, 1 << 20, false)]
    {
        let mut input = BytesMut::with_capacity(MIN_SLICE + 16 + room);
        input.extend_from_slice(format!("${len}\r\n").as_bytes());
        let start = input.as_ptr() as usize;
        input.resize(input.len() + len, b'x');
        input.extend_from_slice(b"\r\n");
        let Decoded::Reply(Reply::Bulk(value)) = Decoder::default().decode(&mut input).unwrap()
        else {
            panic!("no string");
        };
        assert_eq!(value.len(), len);
        assert_eq!((value.as_ptr() as usize).wrapping_sub(start) < 16, is_slice, "{len}");
    }
}

#[test]
fn push_message_between_replies_is_passed_on() {
    let pushed = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&pushed);
    let mut decoder = Decoder::new(Some(Box::new(move |it| received.lock().unwrap().push(it))));
    let mut input = BytesMut::from(":1\r\n>1\r\n+a\r\n>0\r\n:2\r\n");
    for expected in [1, 2] {
        let reply = decoder.decode(&mut input).unwrap();
        assert_eq!(reply, Decoded::Reply(Reply::Int(expected)));
    }
    assert_eq!(*pushed.lock().unwrap(), [vec![Reply::Line("a".into())], Vec::new()]);
}

/// In RESP2, messages of a subscription are arrays.
#[test]
fn array_that_is_a_message_is_passed_on_where_messages_are_received() {
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n";
    let other = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    let inner = format!("*1\r\n{message}");
    let pushed = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&pushed);
    let mut decoder = Decoder::new(Some(Box::new(move |it| received.lock().unwrap().push(it))));
    let mut input = BytesMut::from(&*format!("{message}{other}{inner}"));
    let texts = vec![bulk("message"), bulk("c"), bulk("m")];
    for expected in
        [vec![bulk("pong"), bulk("")], vec![Reply::Array(texts.clone())]].map(Reply::Array)
    {
        assert_eq!(decoder.decode(&mut input).unwrap(), Decoded::Reply(expected));
    }
    assert_eq!(decode(message.as_bytes(), &[]).unwrap(), [Reply::Array(texts.clone())]);
    assert_eq!(*pushed.lock().unwrap(), [texts]);
}

#[test]
fn incomplete_reply_tells_how_much_is_missing() {
    let mut decoder = Decoder::default();
    let mut input = BytesMut::from("*2\r\n:1\r\n$10\r\nabc");
    let decoded = decoder.decode(&mut input).unwrap();
    assert_eq!(decoded, Decoded::Incomplete { missing: 9 });
    assert_eq!(input, "abc", "all before is not read again");
}
