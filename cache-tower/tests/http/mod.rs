//! A real server and a client that sends and reads text.

use std::net::SocketAddr;

use axum::{Router, extract::connect_info::IntoMakeServiceWithConnectInfo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A response as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// Returns the values of a header, joined as a list.
    pub(crate) fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|it| it.0 == name).map(|it| it.1.as_str());
        values.collect::<Vec<_>>().join(", ")
    }
}

/// Serves on a free port until the runtime ends.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app: IntoMakeServiceWithConnectInfo<_, SocketAddr> =
        app.into_make_service_with_connect_info();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends a request and reads the response. `head` is the request line and headers, each with the
/// end of its line.
pub(crate) async fn send(to: SocketAddr, head: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text(head, body).as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    read(&String::from_utf8(reply).unwrap())
}

/// Sends a request and closes the connection without waiting for the response.
#[cfg(feature = "idempotency")]
#[allow(dead_code, reason = "only one of the test programs hangs up")]
pub(crate) async fn send_and_hang_up(
    to: SocketAddr,
    head: &str,
    body: &str,
    sent: impl Future<Output = ()>,
) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text(head, body).as_bytes()).await.unwrap();
    sent.await;
}

fn text(head: &str, body: &str) -> String {
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn read(reply: &str) -> Reply {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|it| it.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Reply { status, headers, body: body.to_owned() }
}
