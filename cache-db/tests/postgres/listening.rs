//! Streams that the server accepts, and that report nothing: none of them begins.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use cache_core::{
    Error, ErrorKind,
    store::{BusMessage, Invalidation, Namespace},
};
use test_servers::{Postgres, Server as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_postgres::Client;

use crate::support::{options, raw, store};

/// Happens to `LISTEN` on its way to the server.
#[derive(Clone, Copy)]
enum On {
    Pass,
    /// It becomes a comment, as behind a pooler whose sessions change.
    Void,
    /// This is done before it arrives.
    After(&'static str),
}

/// A proxy that reads what the clients send.
#[derive(Clone)]
struct Proxy {
    server: SocketAddr,
    other: Arc<Client>,
    on: On,
}

impl Proxy {
    /// Returns the location of a server behind a proxy.
    async fn start(server: &Postgres, on: On) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let proxy = Self { server: server.address(), other: Arc::new(raw(server).await), on };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(proxy.clone().pass(client));
            }
        });
        server.url().replace(&server.address().to_string(), &at.to_string())
    }

    async fn pass(self, client: TcpStream) -> io::Result<()> {
        let (mut client_sends, mut to_client) = client.into_split();
        let (mut server_sends, mut to_server) = TcpStream::connect(self.server).await?.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut server_sends, &mut to_client).await });
        let mut bytes = vec![0; 64 << 10];
        loop {
            let len = client_sends.read(&mut bytes).await?;
            if len == 0 {
                return Ok(());
            }
            if let Some(at) = bytes[..len].windows(8).position(|it| it == b"LISTEN \"") {
                match self.on {
                    On::Pass => {}
                    On::Void => bytes[at..at + 2].copy_from_slice(b"--"),
                    On::After(sql) => self.other.batch_execute(sql).await.unwrap(),
                }
            }
            to_server.write_all(&bytes[..len]).await?;
        }
    }
}

/// Listens to the changes of the table until the stream ends, or has begun. Returns the messages
/// without the heartbeats.
async fn changes(location: &str, more: &str) -> (Vec<String>, Option<Error>) {
    let changes = store(location, &options(more)).views().invalidations.unwrap();
    let (heard, begun) = (Arc::new(Mutex::new(Vec::new())), Arc::new(tokio::sync::Notify::new()));
    let (all, ready) = (Arc::clone(&heard), Arc::clone(&begun));
    let receiver = move |it: Invalidation<'_>| match it {
        // The first one comes before `Ready`.
        Invalidation::Heartbeat(_) => {}
        it => {
            all.lock().unwrap().push(format!("{it:?}"));
            ready.notify_one();
        }
    };
    let namespace = Namespace::new("").unwrap();
    let ended = tokio::select! {
        error = changes.listen(&namespace, Arc::new(receiver)) => Some(error),
        () = begun.notified() => None,
    };
    let heard = heard.lock().unwrap().clone();
    (heard, ended)
}

/// Each attempt would otherwise open the near tier for a round trip, and log it.
#[tokio::test]
async fn stream_that_reports_nothing_does_not_begin() {
    const TRIGGERS: &str = "notify_triggers = true";
    let server = Postgres::start().unwrap();
    for more in ["", TRIGGERS] {
        let proxy = Proxy::start(&server, On::Pass).await;
        let (heard, ended) = changes(&proxy, more).await;
        assert!(ended.is_none(), "{ended:?}");
        assert_eq!(heard, ["Ready(Postgres)"]);
    }
    for (more, on) in [
        ("", On::Void),
        (TRIGGERS, On::Void),
        (TRIGGERS, On::After("DROP TRIGGER cache_notify1_insert ON cache")),
        (TRIGGERS, On::After("ALTER TABLE cache DISABLE TRIGGER cache_notify1_delete")),
    ] {
        let proxy = Proxy::start(&server, on).await;
        let (heard, ended) = changes(&proxy, more).await;
        assert!(heard.is_empty(), "{heard:?}");
        let ended = ended.unwrap();
        assert_eq!(ended.kind(), ErrorKind::Unavailable, "{ended}");
        assert!(ended.message().contains("triggers were dropped"), "{ended}");
    }
}

#[tokio::test]
async fn bus_that_passes_nothing_on_does_not_begin() {
    let server = Postgres::start().unwrap();
    let proxy = Proxy::start(&server, On::Void).await;
    let bus = store(&proxy, &options("")).views().bus.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&heard);
    let receiver = move |it: BusMessage<'_>| all.lock().unwrap().push(format!("{it:?}"));
    let ended = bus.listen("c", Arc::new(receiver)).await;
    assert_eq!(ended.kind(), ErrorKind::Unavailable, "{ended}");
    assert!(heard.lock().unwrap().is_empty());
}
