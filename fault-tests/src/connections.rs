//! The TCP connections of this machine, as the kernel lists them.

use std::{collections::BTreeSet, fs};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::until;

/// Which connections count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Connections that neither end has closed.
    Established,
    /// Also connections that the server has closed and the client has not.
    NotClosedByClient,
}

/// Returns the connections to this port, by their client addresses.
pub fn connections_to(port: u16, which: Connections) -> BTreeSet<String> {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = table.lines().filter_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (columns.next()?, columns.next()?, columns.next()?);
        let counts =
            state == ESTABLISHED || state == CLOSE_WAIT && which == Connections::NotClosedByClient;
        (remote.ends_with(&port) && counts).then(|| local.to_owned())
    });
    ours.collect()
}

/// Waits until no such connection to this port exists and this runtime has processed the close.
///
/// The runtime gets the kernel's events in order. On a busy machine this may take longer than the
/// restart of a server.
pub async fn connections_are_closed(port: u16, which: Connections) {
    until("the connections are closed", async || connections_to(port, which).is_empty()).await;
    let (mut near, mut far) = UnixStream::pair().unwrap();
    near.write_all(b"!").await.unwrap();
    far.read_u8().await.unwrap();
    // Tasks that were woken before this one run first.
    tokio::spawn(async {}).await.unwrap();
}
