//! A single Redis server.
#![cfg(target_os = "linux")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use test_servers::{
    Redis, Server as _,
    resp::{Connection, Reply},
};

/// A server that is not frozen would reply within this time.
const MOMENT: Duration = Duration::from_millis(200);
/// Much longer than a reply takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns the reply to a PING on this connection within this time.
fn ping(connection: &mut TcpStream, within: Duration) -> String {
    connection.set_read_timeout(Some(within)).unwrap();
    connection.write_all(b"PING\r\n").unwrap();
    let mut bytes = [0; 64];
    let n = connection.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

#[test]
fn dropped_server_ends_and_its_files_are_removed() {
    let redis = Redis::start().unwrap();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}", redis.port()));
    assert_eq!(redis.command(&["SET", "a", "1"]).unwrap().text(), "OK");
    assert_eq!(redis.command(&["GET", "a"]).unwrap().text(), "1");
    assert!(redis.is_running() && redis.log().contains("Ready to accept connections"));
    let (address, folder) = (redis.address(), redis.folder().to_owned());
    assert!(folder.exists());
    drop(redis);
    assert!(TcpStream::connect(address).is_err() && !folder.exists());
}

#[test]
fn frozen_server_accepts_connections_and_replies_only_after_thaw() {
    let redis = Redis::start().unwrap();
    let mut before = TcpStream::connect(redis.address()).unwrap();
    assert_eq!(ping(&mut before, LIMIT), "+PONG\r\n");
    redis.freeze();
    assert!(redis.is_running());
    assert_eq!(ping(&mut before, MOMENT), "");
    let mut during = TcpStream::connect(redis.address()).unwrap();
    assert_eq!(ping(&mut during, MOMENT), "");
    redis.thaw();
    assert!(ping(&mut before, LIMIT).starts_with("+PONG\r\n"));
    assert!(ping(&mut during, LIMIT).starts_with("+PONG\r\n"));
}

#[test]
fn killed_server_restarts_empty_on_its_port() {
    let redis = Redis::start().unwrap();
    let address = redis.address();
    redis.command(&["SET", "a", "1"]).unwrap();
    redis.kill();
    assert!(!redis.is_running());
    TcpStream::connect(address).unwrap_err();
    redis.restart().unwrap();
    assert_eq!(redis.address(), address);
    assert_eq!(redis.command(&["EXISTS", "a"]).unwrap().text(), "0");
    // A running server and a frozen server can be restarted, too.
    redis.freeze();
    redis.restart().unwrap();
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn server_outlives_the_thread_that_started_it() {
    let redis = std::thread::spawn(|| Redis::start().unwrap()).join().unwrap();
    // The kernel may kill it a moment after the thread was joined.
    for _ in 0..50 {
        assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
        // sleeps: an event that must not happen cannot be awaited
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
#[should_panic(expected = "redis is not running")]
fn freeze_of_a_killed_server_panics() {
    let redis = Redis::start().unwrap();
    redis.kill();
    redis.freeze();
}

#[test]
fn password_is_required_and_is_in_the_url() {
    let redis = Redis::options().password("secret").start().unwrap();
    assert_eq!(redis.url(), format!("redis://:secret@127.0.0.1:{}", redis.port()));
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
    let err = Connection::open(redis.address()).unwrap().command(&["PING"]).unwrap_err();
    assert!(format!("{err:#}").contains("NOAUTH"), "{err:#}");
}

#[test]
fn user_has_the_permissions_of_its_rules() {
    let rules = ["~app:*", "+@all", "-@dangerous"];
    let redis = Redis::options().user("app", "secret", &rules).start().unwrap();
    assert_eq!(redis.url(), format!("redis://app:secret@127.0.0.1:{}", redis.port()));
    let mut app = Connection::open(redis.address()).unwrap();
    app.command(&["AUTH", "app", "secret"]).unwrap();
    app.command(&["SET", "app:a", "1"]).unwrap();
    for refused in [&["SET", "other", "1"][..], &["FLUSHALL"]] {
        let err = format!("{:#}", app.command(refused).unwrap_err());
        assert!(err.contains("NOPERM"), "{err}");
    }
}

#[test]
fn unix_socket_serves_if_enabled() {
    assert_eq!(Redis::start().unwrap().socket(), None);
    let redis = Redis::options().unix_socket().start().unwrap();
    let mut stream = UnixStream::connect(redis.socket().unwrap()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn max_memory_and_policy_are_applied() {
    let redis = Redis::options().max_memory(3_000_000, "allkeys-lru").start().unwrap();
    let reply = redis.command(&["CONFIG", "GET", "maxmemory*"]).unwrap();
    let config: Vec<String> = reply.list().iter().map(Reply::text).collect();
    assert!(config.iter().any(|it| it == "3000000"), "{config:?}");
    assert!(config.iter().any(|it| it == "allkeys-lru"), "{config:?}");
}

#[test]
fn failed_start_is_an_error_with_the_output_of_the_server() {
    let err = Redis::options().args(&["--no-such-setting", "1"]).start().unwrap_err();
    let text = format!("{err:#}");
    assert!(text.contains("redis did not start on port"), "{text}");
    assert!(text.contains("no-such-setting"), "{text}");
}
