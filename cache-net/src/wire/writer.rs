//! The task that writes the requests of many calls together.

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
        if let Err(error) = written.await {
            return queue.0.close(&connection_error(&error, "the connection was lost"));
        }
        queue.0.written();
    }
}
