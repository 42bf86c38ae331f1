//! Redis servers with TLS.
#![cfg(target_os = "linux")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use test_servers::{Authority, ClientCertificate, Redis, RedisReplicas, Server as _};

/// Returns the server's reply to these bytes, until it closes the connection.
fn ask(redis: &Redis, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut res = [0; 64];
    // A reset counts as an empty reply.
    let n = stream.read(&mut res).unwrap_or(0);
    res[..n].to_vec()
}

#[test]
fn server_with_tls_refuses_plain_text() {
    let authority = Authority::new().unwrap();
    let redis = Redis::options().tls(&authority).password("secret").start().unwrap();
    assert_eq!(redis.url(), format!("rediss://:secret@127.0.0.1:{}", redis.port()));
    assert_eq!(redis.socket(), None);
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
    let said = ask(&redis, b"PING\r\n");
    assert!(!said.windows(4).any(|it| it == b"PONG"), "{said:?}");
    // A TLS alert, the reply to an empty hello.
    let said = ask(&redis, b"\x16\x03\x01\0\x04\x01\0\0\0");
    assert_eq!(said.first(), Some(&0x15), "{said:?}");
}

#[test]
fn restarted_server_with_tls_has_its_port_and_certificate() {
    let authority = Authority::new().unwrap();
    let redis = Redis::options().tls(&authority).unix_socket().start().unwrap();
    // The server needs the authority's files for a restart.
    drop(authority);
    let (address, certificate) = (redis.address(), redis.folder().join("server.pem"));
    let before = std::fs::read(&certificate).unwrap();
    redis.kill();
    TcpStream::connect(address).unwrap_err();
    redis.restart().unwrap();
    assert!(redis.socket().unwrap().exists());
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
    assert_eq!((redis.address(), std::fs::read(&certificate).unwrap()), (address, before));
    TcpStream::connect(address).unwrap();
}

#[test]
fn client_certificate_is_required_as_configured() {
    let authority = Authority::new().unwrap();
    for (clients, config) in [
        (ClientCertificate::Ignored, "no"),
        (ClientCertificate::Optional, "optional"),
        (ClientCertificate::Required, "yes"),
    ] {
        let redis = Redis::options().tls_with(&authority, &["localhost"], clients).start().unwrap();
        let reply = redis.command(&["CONFIG", "GET", "tls-auth-clients"]).unwrap();
        assert_eq!(reply.list()[1].text(), config);
    }
}

#[test]
fn replicas_connect_to_a_leader_that_requires_certificates() {
    let authority = Authority::new().unwrap();
    let names = ["localhost", "127.0.0.1"];
    let options = Redis::options().tls_with(&authority, &names, ClientCertificate::Required);
    let group = RedisReplicas::start_with(1, &options).unwrap();
    assert!(group.replicas()[0].url().starts_with("rediss://"));
}
