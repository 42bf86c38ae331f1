//! Readers and writers agree on the way of the messages, whatever a server accepts.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use cache_core::secs;
use test_servers::{Redis, Server as _};

use crate::support::{cache, near, visible, warm};

/// A writer that has no stream must know that the reader's server refuses its kind of tracking.
#[tokio::test]
async fn write_is_seen_if_the_server_refuses_broadcasts() {
    const NEAR: &str = "invalidation = 'auto'\ntimeout = '1h'";
    let redis = Redis::start().unwrap();
    let url = format!("redis://{}", without_broadcasts(redis.address()));
    let reader = cache(&url, NEAR, "");
    reader.check().await.unwrap();
    assert_eq!(near(&reader).invalidation.as_str(), "pubsub");
    for round in 0..5 {
        let writer = cache(&url, NEAR, "");
        writer.set("k", &round, secs(600)).await.unwrap();
        visible(&reader, Some(round)).await;
        warm(&reader).await;
        assert!(writer.delete("k").await.unwrap());
        visible(&reader, None).await;
    }
}

/// Returns the address of a relay to a server that accepts tracking, but not in broadcast mode.
fn without_broadcasts(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else { continue };
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || relay(from, to, |_| ()));
            // The server replies with an error.
            thread::spawn(move || relay(client, server, forget_broadcasts));
        }
    });
    address
}

fn relay(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut [u8])) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        change(&mut bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn forget_broadcasts(request: &mut [u8]) {
    const MODE: &[u8] = b"BCAST";
    for i in 0..request.len() {
        if request[i..].starts_with(MODE) {
            request[i..i + MODE.len()].copy_from_slice(b"OTHER");
        }
    }
}
