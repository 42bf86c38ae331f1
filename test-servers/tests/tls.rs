//! Redis that speaks TLS.
#![cfg(target_os = "linux")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use test_servers::{Authority, ClientCertificate, Redis, RedisReplicas, Server as _};

/// What the server says to these bytes before it hangs up.
fn ask(redis: &Redis, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut res = [0; 64];
    // A reset is nothing said, too.
    let n = stream.read(&mut res).unwrap_or(0);
    res[..n].to_vec()
}

#[test]
fn a_server_with_tls_speaks_nothing_else_on_its_port() {
    let authority = Authority::new().unwrap();
    let redis = Redis::options().tls(&authority).password("secret").start().unwrap();
    assert_eq!(redis.url(), format!("rediss://:secret@127.0.0.1:{}", redis.port()));
    assert_eq!(redis.socket(), None);
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
    let said = ask(&redis, b"PING\r\n");
    assert!(!said.windows(4).any(|it| it == b"PONG"), "{said:?}");
    // An alert, which is what TLS says to a hello without anything in it.
    let said = ask(&redis, b"\x16\x03\x01\0\x04\x01\0\0\0");
    assert_eq!(said.first(), Some(&0x15), "{said:?}");
}

#[test]
fn a_server_with_tls_comes_back_on_its_port_with_its_certificate() {
    let authority = Authority::new().unwrap();
    let redis = Redis::options().tls(&authority).unix_socket().start().unwrap();
    // It needs the authority's files after a crash, too.
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
fn what_clients_must_show_is_what_was_asked_for() {
    let authority = Authority::new().unwrap();
    for (clients, told) in [
        (ClientCertificate::Ignored, "no"),
        (ClientCertificate::Optional, "optional"),
        (ClientCertificate::Required, "yes"),
    ] {
        let redis = Redis::options().tls_with(&authority, &["localhost"], clients).start().unwrap();
        let reply = redis.command(&["CONFIG", "GET", "tls-auth-clients"]).unwrap();
        assert_eq!(reply.list()[1].text(), told);
    }
}

#[test]
fn replicas_follow_a_leader_that_asks_for_certificates() {
    let authority = Authority::new().unwrap();
    let names = ["localhost", "127.0.0.1"];
    let options = Redis::options().tls_with(&authority, &names, ClientCertificate::Required);
    let group = RedisReplicas::start_with(1, &options).unwrap();
    assert!(group.replicas()[0].url().starts_with("rediss://"));
}
