//! The target for the decoder of the replies of Redis.

// The decoder is private to the store, so this includes its source instead of making it public.
#[path = "../../cache-redis/src/decoder.rs"]
mod decoder;
#[path = "../../cache-redis/src/resp.rs"]
mod resp;

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use cache_net::{Decode as _, Decoded};

use self::{
    decoder::{Decoder, NOT_RESP},
    resp::Reply,
};
use crate::allocations;

/// All that a decoder found.
#[derive(Debug, PartialEq)]
struct Found {
    replies: Vec<Reply>,
    pushed: Vec<Vec<Reply>>,
    /// Whether the bytes are not RESP.
    is_broken: bool,
}

/// Decodes any bytes as the replies of a server: at once, byte by byte, and in larger pieces.
///
/// # Panics
/// If the replies depend on the pieces, if a reply is complete before the bytes that were reported
/// as missing arrive, or if the memory depends on an announced length.
pub fn redis_reply(bytes: &[u8]) {
    let limit = (256 << 10) + 256 * bytes.len();
    let whole = allocations::at_most(limit, || decode(bytes, bytes.len().max(1)));
    for reply in &whole.replies {
        if let Reply::Error(it) = reply {
            assert!(!it.code().contains(' '), "{it:?}");
            let quoted = format!("{} {}", it.code(), it.details());
            assert_eq!(resp::ErrorReply::new(quoted.as_bytes()).code(), it.code());
        }
    }
    for piece in [1, 2, 7, 64] {
        let found = decode(bytes, piece);
        // NaN is not equal to itself.
        assert_eq!(format!("{found:?}"), format!("{whole:?}"), "in pieces of {piece}");
    }
}

fn decode(bytes: &[u8], piece: usize) -> Found {
    let pushed = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&pushed);
    let mut decoder = Decoder::new(Some(Box::new(move |it| sink.lock().unwrap().push(it))));
    let mut found = Found { replies: Vec::new(), pushed: Vec::new(), is_broken: false };
    let mut input = BytesMut::new();
    // The length of the input at which the next reply can be complete.
    let mut expected = 0;
    'all: for (i, piece_of) in bytes.chunks(piece).enumerate() {
        input.extend_from_slice(piece_of);
        let received = i * piece + piece_of.len();
        loop {
            match decoder.decode(&mut input) {
                Ok(Decoded::Reply(reply)) => {
                    assert!(received >= expected, "complete before {expected} bytes");
                    found.replies.push(reply);
                }
                Ok(Decoded::Incomplete { missing }) => {
                    assert!(missing > 0);
                    expected = received + missing;
                    break;
                }
                Err(error) => {
                    assert_eq!(error.message(), NOT_RESP);
                    found.is_broken = true;
                    break 'all;
                }
            }
        }
    }
    found.pushed = std::mem::take(&mut pushed.lock().unwrap());
    found
}
