//! The connections of this machine, as its kernel knows them.

use std::{collections::BTreeSet, fs};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::until;

/// Which connections count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Those at whose ends nobody has closed anything.
    ByBoth,
    /// Also those that the server has closed, and whose client has not noticed it.
    ByClient,
}

/// The connections to this port, by their addresses at the client.
pub fn connections_to(port: u16, held: Held) -> BTreeSet<String> {
    const ESTABLISHED: &str = "01";
    const CLOSED_BY_THE_OTHER: &str = "08";
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        let counts = state == ESTABLISHED || state == CLOSED_BY_THE_OTHER && held == Held::ByClient;
        (remote.ends_with(&port) && counts).then(|| local.to_owned())
    });
    ours.collect()
}

/// Waits until no connection to this port is left, and this runtime has heard of it.
///
/// It hears from its system in the order in which things happen. On a busy machine that may be later than a server needs to start.
pub async fn loss_is_known(port: u16, held: Held) {
    until("the loss is known", async || connections_to(port, held).is_empty()).await;
    let (mut near, mut far) = UnixStream::pair().unwrap();
    near.write_all(b"!").await.unwrap();
    far.read_u8().await.unwrap();
    // And its tasks, which were woken before this one.
    tokio::spawn(async {}).await.unwrap();
}
