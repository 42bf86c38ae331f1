//! From bytes to replies.

use bytes::BytesMut;
use cache_core::Result;

/// Splits the bytes that a server sends into replies.
///
/// A decoder is total: any bytes, in any pieces, are replies or an error. It keeps no more memory
/// than the bytes that it was given.
pub trait Decode: Send + 'static {
    /// The reply to one request.
    type Reply: Send + 'static;

    /// Removes one reply from the start of `input`. A decoder removes messages that are not replies
    /// itself.
    ///
    /// After an incomplete reply, the next call has the same bytes and more of them, so a decoder
    /// may remember how far it has come.
    ///
    /// # Errors
    /// The bytes are not of this protocol. The connection and all calls on it end with this error.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded<Self::Reply>>;
}

/// The result of [`Decode::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<R> {
    /// A whole reply, removed from the input.
    Reply(R),
    /// The end of the reply has not arrived.
    Incomplete {
        /// How many bytes are missing at least: a hint for the size of the next read.
        missing: usize,
    },
}
