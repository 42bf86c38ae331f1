//! The target for the replies of a memcached server.

// The decoder is private to the store, so this includes its sources instead of making it public.
#[path = "../../cache-memcached/src/decoder.rs"]
mod decoder;
#[path = "../../cache-memcached/src/reply.rs"]
mod reply;
#[path = "../../cache-memcached/src/server_errors.rs"]
#[expect(dead_code, reason = "the store asks more of an error")]
mod server_errors;

use std::sync::Arc;

use bytes::BytesMut;
use cache_core::ErrorKind;
use cache_net::{Decode as _, Decoded};

use self::{
    decoder::{Decoder, Received},
    reply::{Code, ReturnCode},
};
use crate::allocations::at_most;

/// Decodes any bytes at once and in pieces.
///
/// # Panics
/// If the replies depend on the pieces, a reply contains bytes that were not sent, or the decoder
/// allocates more than a small multiple of the bytes.
pub fn memcached_reply(bytes: &[u8]) {
    // The names of errors are static, and one of another kind says so.
    let whole = at_most(1000 + 200 * bytes.len(), || decode(bytes, bytes.len()));
    for piece in [1, 2, 7] {
        assert_eq!(decode(bytes, piece), whole, "in pieces of {piece}");
    }
    for reply in whole.0.iter().flatten() {
        assert_eq!(reply.code == Code::Meta(ReturnCode::Va), reply.value.is_some());
        let value = reply.value.as_deref().unwrap_or_default();
        let is_sent = value.is_empty() || bytes.windows(value.len()).any(|it| it == value);
        assert!(is_sent, "{reply:?}");
    }
}

/// Returns the replies, and the error that ends the connection.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Received>, Option<(ErrorKind, String)>) {
    let (mut decoder, mut input) = (Decoder::new(Arc::default()), BytesMut::new());
    let mut replies = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        loop {
            let before = input.len();
            match decoder.decode(&mut input) {
                Ok(Decoded::Reply(reply)) => {
                    assert!(input.len() < before, "a reply without bytes");
                    replies.push(reply);
                }
                Ok(Decoded::Incomplete { missing }) => {
                    assert!(missing > 0);
                    break;
                }
                Err(error) => {
                    return (replies, Some((error.kind(), error.message().to_owned())));
                }
            }
        }
    }
    (replies, None)
}
