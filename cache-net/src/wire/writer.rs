//! The task that writes the requests of many calls together.

use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::reader::CloseOnDrop;
use crate::connection_error;

/// Writes until the connection ends.
pub(super) async fn run<R>(mut stream: impl AsyncWrite + Unpin, queue: CloseOnDrop<R>) {
    while let Some(output) = queue.0.output().await {
        let written = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        // The reader may end the connection meanwhile. Then its calls fail, so the rest must not be
        // delivered: the stream is reset when it is dropped.
        match select(pin!(written), pin!(queue.0.closed())).await {
            Either::Left((Ok(()), _)) => queue.0.written(),
            Either::Left((Err(error), _)) => {
                return queue.0.close(&connection_error(&error, "the connection was lost"));
            }
            Either::Right(_) => return,
        }
    }
}
