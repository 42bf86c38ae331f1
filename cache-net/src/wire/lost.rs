//! Calls without a reply.

use cache_core::Error;

/// A call whose connection was closed before its reply.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Why the connection was closed.
    pub error: Error,
    /// Whether the server may have received the request.
    pub was_sent: bool,
}
