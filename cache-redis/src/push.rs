//! Push messages of a server, which are not replies.

use std::{fmt, sync::Arc};

use crate::resp::Reply;

/// Receives the push messages of a connection.
#[derive(Clone)]
pub(crate) struct PushReceiver(Arc<Receive>);

type Receive = dyn Fn(&[Reply]) + Send + Sync;

impl PushReceiver {
    pub(crate) fn new(receive: impl Fn(&[Reply]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    pub(crate) fn receive(&self, message: &[Reply]) {
        (self.0)(message);
    }
}

/// Returns the kind of a push message, such as `invalidate`.
pub(crate) fn kind(message: &[Reply]) -> Option<&[u8]> {
    match message.first()? {
        Reply::Bulk(it) | Reply::Line(it) => Some(it),
        _ => None,
    }
}

/// Returns the text of a message of a channel, if it can be read.
pub(crate) fn text(message: &[Reply]) -> Option<&str> {
    match (kind(message)?, message) {
        (b"message" | b"smessage", [_, _, Reply::Bulk(text)]) => str::from_utf8(text).ok(),
        _ => None,
    }
}

impl fmt::Debug for PushReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushReceiver")
    }
}
