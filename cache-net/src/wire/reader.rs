//! The task that reads replies.

use std::sync::Arc;

use bytes::BytesMut;
use cache_core::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    Decode, Decoded,
    queue::{KEPT, Queue},
};
use crate::{connection_error, runtime_closed};

/// Closes the connection when the task ends, also with its runtime. It is made before the task: a
/// runtime that shuts down drops tasks that it has never polled.
pub(super) struct CloseOnDrop<R>(pub(super) Arc<Queue<R>>);

/// The least room for one read.
const LEAST: usize = 16 << 10;
/// The most room that is made because a reply says that it is long.
const MOST: usize = 1 << 20;

/// Reads until the connection ends.
pub(super) async fn run<D: Decode>(
    mut stream: impl AsyncRead + Unpin,
    mut decoder: D,
    queue: CloseOnDrop<D::Reply>,
) {
    let mut input = BytesMut::new();
    let (mut replies, mut finished) = (Vec::new(), Vec::new());
    let (mut room, mut largest) = (LEAST, 0);
    let error = loop {
        input.reserve(room);
        largest = largest.max(input.capacity());
        match stream.read_buf(&mut input).await {
            Ok(0) => {
                let what = "the connection was lost: the server closed the connection";
                break Error::new(ErrorKind::Unavailable, what);
            }
            Ok(len) => queue.0.receive(len),
            Err(error) => break connection_error(&error, "the connection was lost"),
        }
        let broken = loop {
            match decoder.decode(&mut input) {
                Ok(Decoded::Reply(reply)) => replies.push(reply),
                Ok(Decoded::Incomplete { missing }) => {
                    room = missing.clamp(LEAST, MOST);
                    break None;
                }
                Err(error) => break Some(error),
            }
        };
        let fits = queue.0.replies(&mut replies, &mut finished);
        // Without the lock, because each wakes a task.
        finished.drain(..).for_each(super::queue::Finished::send);
        if input.is_empty() && largest > KEPT {
            (input, largest) = (BytesMut::new(), 0);
        }
        if let Some(error) = broken {
            break error;
        }
        if !fits {
            let what = "protocol error: the server sent a reply without a request";
            break Error::new(ErrorKind::Unavailable, what);
        }
    };
    queue.0.close(&error);
}

impl<R> Drop for CloseOnDrop<R> {
    fn drop(&mut self) {
        // Without an effect if the connection was closed for another reason.
        self.0.close(&runtime_closed());
    }
}
