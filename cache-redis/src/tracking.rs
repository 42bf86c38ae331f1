//! The changes of a server's keys, by client tracking in broadcast mode.
//!
//! A connection of its own asks the server for a push message about each change of a key with the
//! prefix, whichever client makes it. The message about a change that follows a read is sent after
//! the reply to the read.

use cache_core::{
    Error, ErrorKind,
    store::{Invalidation, Namespace},
};

use crate::{push::kind, resp::Reply, subscription::Request};

/// Returns the command that begins the tracking of all keys of the namespace, and perhaps of those
/// of others, such as `shop:eu` for `shop`.
pub(crate) fn request(namespace: &Namespace) -> Request {
    let prefix = prefix(namespace.prefix());
    Request {
        commands: vec![command(&prefix).map(str::to_owned).to_vec()],
        replies: 1,
        resp: Some(3),
        refused,
    }
}

/// Returns the beginning of all stored keys, from the prefix in the settings.
pub(crate) fn prefix(key_prefix: &str) -> String {
    format!("{key_prefix}:")
}

pub(crate) fn command(prefix: &str) -> [&str; 6] {
    ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix]
}

/// Reports a push message: `invalidate` and the keys, or null for all keys. Any other message may
/// say that keys have changed.
pub(crate) fn report(message: &[Reply], receiver: &dyn Fn(Invalidation<'_>)) {
    let (Some(b"invalidate"), [_, Reply::Array(keys)]) = (kind(message), message) else {
        return receiver(Invalidation::All);
    };
    for key in keys {
        match key {
            // A key that is not text is not one of a cache.
            Reply::Bulk(key) => {
                if let Ok(key) = str::from_utf8(key) {
                    receiver(Invalidation::Key(key));
                }
            }
            _ => receiver(Invalidation::All),
        }
    }
}

#[cold]
fn refused(error: &Error) -> Error {
    let reason = error.message();
    let what = format!("the server refuses client tracking (RESP3, CLIENT TRACKING): {reason}");
    Error::new(ErrorKind::Unsupported, what)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;

    use super::*;

    fn received(message: &[Reply]) -> Vec<String> {
        let all = RefCell::new(Vec::new());
        report(message, &|it| all.borrow_mut().push(format!("{it:?}")));
        all.into_inner()
    }

    fn bulk(text: &'static [u8]) -> Reply {
        Reply::Bulk(Bytes::from_static(text))
    }

    #[test]
    fn message_that_cannot_be_read_is_a_change_of_all_keys() {
        let keys = Reply::Array(vec![bulk(b"a:1:k"), bulk(b"\xff"), bulk(b"a:1:l")]);
        let messages: [(&[Reply], &[&str]); 7] = [
            (&[bulk(b"invalidate"), keys.clone()], &["Key(\"a:1:k\")", "Key(\"a:1:l\")"]),
            (&[bulk(b"invalidate"), Reply::Nil], &["All"]),
            (&[bulk(b"invalidate"), Reply::Int(1)], &["All"]),
            (&[bulk(b"invalidate"), Reply::Array(vec![Reply::Int(1)])], &["All"]),
            (&[bulk(b"tracking-redir-broken"), keys.clone()], &["All"]),
            (&[bulk(b"invalidate"), keys, Reply::Nil], &["All"]),
            (&[], &["All"]),
        ];
        for (message, expected) in messages {
            assert_eq!(received(message), *expected, "{message:?}");
        }
    }
}
