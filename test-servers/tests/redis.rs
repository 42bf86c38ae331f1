//! Redis, alone.
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

/// A moment in which a server that can would answer.
const MOMENT: Duration = Duration::from_millis(200);
/// Far longer than an answer takes.
const LIMIT: Duration = Duration::from_secs(30);

/// What a server says in that time to a PING on this connection.
fn ping(connection: &mut TcpStream, within: Duration) -> String {
    connection.set_read_timeout(Some(within)).unwrap();
    connection.write_all(b"PING\r\n").unwrap();
    let mut bytes = [0; 64];
    let n = connection.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

#[test]
fn it_serves_and_is_gone_with_its_files_when_dropped() {
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
fn a_frozen_server_accepts_and_does_not_answer_until_it_thaws() {
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
fn a_killed_server_is_gone_and_comes_back_empty_on_its_port() {
    let redis = Redis::start().unwrap();
    let address = redis.address();
    redis.command(&["SET", "a", "1"]).unwrap();
    redis.kill();
    assert!(!redis.is_running());
    TcpStream::connect(address).unwrap_err();
    redis.restart().unwrap();
    assert_eq!(redis.address(), address);
    assert_eq!(redis.command(&["EXISTS", "a"]).unwrap().text(), "0");
    // One that runs is restarted as well, and one that is frozen.
    redis.freeze();
    redis.restart().unwrap();
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
}

#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let redis = std::thread::spawn(|| Redis::start().unwrap()).join().unwrap();
    // The kernel acts when the thread is gone, which may be a moment after it was joined.
    for _ in 0..50 {
        assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
        // sleeps: something that must not happen has no signal
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
#[should_panic(expected = "redis does not run")]
fn a_dead_server_cannot_be_frozen() {
    let redis = Redis::start().unwrap();
    redis.kill();
    redis.freeze();
}

#[test]
fn a_password_is_asked_for_and_in_the_url() {
    let redis = Redis::options().password("secret").start().unwrap();
    assert_eq!(redis.url(), format!("redis://:secret@127.0.0.1:{}", redis.port()));
    assert_eq!(redis.command(&["PING"]).unwrap().text(), "PONG");
    let err = Connection::open(redis.address()).unwrap().command(&["PING"]).unwrap_err();
    assert!(format!("{err:#}").contains("NOAUTH"), "{err:#}");
}

#[test]
fn a_user_may_do_what_the_rules_say() {
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
fn a_unix_socket_serves_if_it_was_asked_for() {
    assert_eq!(Redis::start().unwrap().socket(), None);
    let redis = Redis::options().unix_socket().start().unwrap();
    let mut stream = UnixStream::connect(redis.socket().unwrap()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn memory_is_bounded_as_told() {
    let redis = Redis::options().max_memory(3_000_000, "allkeys-lru").start().unwrap();
    let told = redis.command(&["CONFIG", "GET", "maxmemory*"]).unwrap();
    let told: Vec<String> = told.list().iter().map(Reply::text).collect();
    assert!(told.iter().any(|it| it == "3000000"), "{told:?}");
    assert!(told.iter().any(|it| it == "allkeys-lru"), "{told:?}");
}

#[test]
fn a_failed_start_tells_what_the_server_said() {
    let err = Redis::options().args(&["--no-such-setting", "1"]).start().unwrap_err();
    let text = format!("{err:#}");
    assert!(text.contains("redis did not start on port"), "{text}");
    assert!(text.contains("no-such-setting"), "{text}");
}
