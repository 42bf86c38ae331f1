//! Errors of servers and connections, as errors of [`cache_core`]. No message contains a value or a
//! password.

use cache_core::{Error, ErrorKind, Result};

use crate::{
    address::Address,
    decoder::NOT_RESP,
    resp::{ErrorReply, Reply},
    server_errors,
};

/// Returns the error for a reply whose type does not fit the command. The message does not contain
/// the reply.
pub(crate) fn unexpected(reply: &Reply) -> Error {
    match reply {
        Reply::Error(it) => from_reply(it),
        _ => Error::new(ErrorKind::Backend, "unexpected reply type"),
    }
}

/// Returns the error for an error reply. The message leaves the details out, because they may quote
/// the request.
pub(crate) fn from_reply(error: &ErrorReply) -> Error {
    match server_errors::find(error.code(), error.details()) {
        Some((kind, what)) => Error::new(kind, what),
        None => Error::new(
            ErrorKind::Backend,
            format!("the server replied with the error {}", shown(error.code())),
        ),
    }
}

/// Whether the server rejected a transaction, or a command of it, because of its memory limit.
pub(crate) fn is_out_of_memory(error: &Error) -> bool {
    [server_errors::OUT_OF_MEMORY, server_errors::DISCARDED].contains(&error.message())
}

/// Whether the answer is an error that [`is_out_of_memory`].
pub(crate) fn needs_memory<T>(answer: &Result<T>) -> bool {
    answer.as_ref().err().is_some_and(is_out_of_memory)
}

const DEMOTED: &str = "failover in progress: this server is not the leader any more";

/// Returns the error for a server that is not the leader, although it should be.
pub(crate) fn demoted() -> Error {
    Error::new(ErrorKind::Unavailable, DEMOTED).ignored_by_breaker()
}

/// Whether the server is not the leader. Nothing was sent to it.
pub(crate) fn is_demoted(error: &Error) -> bool {
    error.message() == DEMOTED
}

/// Whether the server does not know a command.
pub(crate) fn is_unknown_command(error: &Error) -> bool {
    error.message() == server_errors::UNKNOWN_COMMAND
}

/// The message of `cache-net` about a server that replies before the first request.
const UNREQUESTED: &str = "the server sent a reply without a request";

/// Returns the error for a server that did not complete the handshake, from the error of its
/// connection.
pub(crate) fn connecting(error: Error) -> Error {
    let message = error.message();
    if message == NOT_RESP {
        let what = "cannot connect: the server does not speak the protocol of Redis or Valkey";
        return Error::new(ErrorKind::Unavailable, what);
    }
    if let Some((_, alert)) = message.split_once("fatal alert: ") {
        // A failed TLS handshake is an error of configuration, which does not pass by itself.
        let what = format!("the server refused the connection: TLS alert {alert}");
        return Error::new(ErrorKind::Backend, what);
    }
    if error.kind() != ErrorKind::Unavailable {
        return error;
    }
    // A server with too many clients says so before it closes the connection, and does not wait for
    // the first command.
    let reason = message
        .strip_prefix("the connection was lost: ")
        .or_else(|| message.strip_prefix("protocol error: ").filter(|it| *it == UNREQUESTED));
    let Some(reason) = reason else { return error };
    let what = format!(
        "cannot connect: {reason}; check whether the server has too many clients (maxclients), \
         whether it is Redis or Valkey, and that the location is rediss:// if, and only if, the \
         server uses TLS"
    );
    Error::new(ErrorKind::Unavailable, what)
}

/// Adds the server's address to an error.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", address.to_string())
}

/// Returns the code if it is a word of capital letters. Any other text could contain data.
fn shown(code: &str) -> &str {
    let is_code =
        !code.is_empty() && code.len() <= 32 && code.bytes().all(|it| it.is_ascii_uppercase());
    if is_code { code } else { "of an unknown kind" }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use cache_core::Clock;
    use cache_net::{Dialer, Socket, Wire};
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        runtime::Handle,
    };

    use super::*;
    use crate::decoder::Decoder;

    /// Returns a connection, and its other end.
    async fn pair() -> (Wire<Decoder>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialer = Dialer::new(std::time::Duration::from_secs(20), Clock::system());
        let port = listener.local_addr().unwrap().port();
        let (socket, handle) = Socket::new(dialer.connect("127.0.0.1", port).await.unwrap());
        let wire = Wire::plain(&Handle::current(), socket, handle, Decoder::default());
        (wire, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn refusal_before_and_after_the_first_command_names_the_same_reason() {
        for is_early in [true, false] {
            let (wire, mut server) = pair().await;
            let refusal = b"-ERR max number of clients reached\r\n";
            let hello = |out: &mut BytesMut| out.extend_from_slice(b"HELLO\r\nPING\r\n");
            let lost = if is_early {
                server.write_all(refusal).await.unwrap();
                wire.closed().await;
                wire.call_many(2, hello).await.unwrap_err()
            } else {
                let refuse = async move { server.write_all(refusal).await };
                tokio::join!(wire.call_many(2, hello), refuse).0.unwrap_err()
            };
            let error = connecting(lost.error);
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.message().contains("cannot connect"), "{error}");
            assert!(error.message().contains("maxclients"), "{error}");
        }
    }
}
