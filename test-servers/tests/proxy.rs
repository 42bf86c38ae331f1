//! The modes of the proxy, in front of an echo server and of Redis.
#![cfg(target_os = "linux")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use test_servers::{
    Proxy, Redis, Server as _,
    proxy::Direction,
    resp::{Connection, Reply},
    wait_until,
};

/// If nothing arrives within this time, nothing is expected.
const QUIET: Duration = Duration::from_millis(100);
/// Much longer than any of these tests takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts an echo server. The channel gets the end of each of its connections.
fn echo() -> (SocketAddr, mpsc::Receiver<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, ends) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, ended) = (stream.unwrap(), ended.clone());
            thread::spawn(move || {
                let mut bytes = [0; 1024];
                let end = loop {
                    match stream.read(&mut bytes) {
                        Ok(0) => break Ok(()),
                        Ok(n) => stream.write_all(&bytes[..n]).unwrap_or(()),
                        Err(err) => break Err(err),
                    }
                };
                // The receiver may have been dropped.
                let _ = ended.send(end);
            });
        }
    });
    (address, ends)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let res = TcpStream::connect(proxy.address()).unwrap();
    res.set_read_timeout(Some(LIMIT)).unwrap();
    res
}

fn say(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn is_quiet(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let res = loop {
        match stream.read(&mut [0]) {
            // The process was suspended for a while.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            res => break res,
        }
    };
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    res.is_err_and(|it| it.kind() == ErrorKind::WouldBlock)
}

fn is_reset<T>(res: std::io::Result<T>) -> bool {
    res.is_err_and(|it| it.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn pass_forwards_bytes_and_the_end_of_the_connection() {
    let (server, ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    assert_eq!(say(&mut stream, "hello"), "hello");
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    stream.write_all(b"bye").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye");
    ends.recv_timeout(LIMIT).unwrap().unwrap();
    wait_until("it is closed", LIMIT, || proxy.open() == 0).unwrap();
}

#[test]
fn pass_forwards_more_bytes_than_buffers_hold() {
    let (server, _ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    let mut writing = stream.try_clone().unwrap();
    let sent = thread::spawn(move || {
        for i in 0..=255 {
            writing.write_all(&vec![i; 40_000]).unwrap();
        }
    });
    for i in 0..=255 {
        let mut bytes = vec![0; 40_000];
        stream.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().all(|it| *it == i));
    }
    sent.join().unwrap();
}

#[test]
fn delay_holds_replies_until_the_mode_is_pass() {
    let (server, _ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    proxy.delay(QUIET);
    let start = Instant::now();
    assert_eq!(say(&mut stream, "late"), "late");
    assert!(start.elapsed() >= QUIET);
    proxy.delay(LIMIT * 100);
    stream.write_all(b"held back").unwrap();
    assert!(is_quiet(&mut stream));
    proxy.pass();
    let mut bytes = [0; 9];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"held back");
}

#[test]
fn cut_resets_both_ends_and_new_connections_work() {
    let (server, ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    say(&mut stream, "x");
    proxy.cut();
    assert_eq!(proxy.open(), 0);
    assert!(is_reset(stream.read(&mut [0])));
    assert!(is_reset(ends.recv_timeout(LIMIT).unwrap()));
    assert_eq!(say(&mut connect(&proxy), "again"), "again");
}

#[test]
fn cut_ends_delayed_connections() {
    let (server, _ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    proxy.delay(LIMIT * 100);
    let mut stream = connect(&proxy);
    stream.write_all(b"x").unwrap();
    wait_until("it is open at both ends", LIMIT, || proxy.open() == 1).unwrap();
    assert!(is_quiet(&mut stream));
    proxy.cut();
    assert!(is_reset(stream.read(&mut [0])));
}

#[test]
fn refuse_resets_only_new_connections() {
    let (server, _ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut old = connect(&proxy);
    say(&mut old, "x");
    proxy.refuse();
    // The reset may arrive before or after the client sees the connection as made.
    let refused = TcpStream::connect(proxy.address()).and_then(|mut it| it.read(&mut [0]));
    assert!(is_reset(refused));
    assert_eq!(say(&mut old, "still"), "still");
    assert_eq!(proxy.accepted(), 2);
    proxy.pass();
    assert_eq!(say(&mut connect(&proxy), "again"), "again");
}

#[test]
fn truncate_cuts_one_reply_and_then_passes() {
    let (server, _ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    proxy.truncate_after(7);
    assert_eq!(say(&mut stream, "abcd"), "abcd");
    stream.write_all(b"efgh").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "efg");
    assert_eq!(say(&mut connect(&proxy), "abcdefghij"), "abcdefghij");
}

#[test]
fn swallow_drops_bytes_of_its_direction() {
    for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
        let (server, ends) = echo();
        let proxy = Proxy::to(server).unwrap();
        let mut stream = connect(&proxy);
        say(&mut stream, "x");
        proxy.swallow(direction);
        stream.write_all(b"lost").unwrap();
        // On a busy machine the bytes may arrive later than `MOMENT`.
        wait_until("it is swallowed", LIMIT, || proxy.swallowed() == 4).unwrap();
        assert!(is_quiet(&mut stream));
        let mut new = connect(&proxy);
        assert!(is_quiet(&mut new));
        // The server does not see the end of the client's connection either.
        drop(connect(&proxy));
        if direction == Direction::ToClient {
            ends.recv_timeout(LIMIT).unwrap().unwrap();
        } else {
            ends.recv_timeout(QUIET).unwrap_err();
        }
        proxy.pass();
        assert_eq!(say(&mut stream, "back"), "back");
        assert_eq!(say(&mut new, "new"), "new");
    }
}

#[test]
fn swallow_open_affects_only_open_connections() {
    let (server, _ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    say(&mut stream, "x");
    proxy.swallow_open();
    stream.write_all(b"lost").unwrap();
    assert!(is_quiet(&mut stream));
    assert_eq!(say(&mut connect(&proxy), "new"), "new");
    proxy.pass();
    stream.write_all(b"lost").unwrap();
    assert!(is_quiet(&mut stream));
    proxy.cut();
    assert!(is_reset(stream.read(&mut [0])));
}

#[test]
fn dropped_proxy_closes_its_connections() {
    let (server, ends) = echo();
    let proxy = Proxy::to(server).unwrap();
    let mut stream = connect(&proxy);
    say(&mut stream, "x");
    let address = proxy.address();
    drop(proxy);
    assert!(is_reset(stream.read(&mut [0])));
    assert!(is_reset(ends.recv_timeout(LIMIT).unwrap()));
    TcpStream::connect(address).unwrap_err();
}

#[test]
fn unreachable_server_is_a_reset() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    redis.kill();
    let refused = TcpStream::connect(proxy.address()).and_then(|mut it| it.read(&mut [0]));
    assert!(is_reset(refused));
    redis.restart().unwrap();
    Connection::open(proxy.address()).unwrap().command(&["PING"]).unwrap();
}

#[test]
fn redis_behind_the_proxy_sees_each_fault() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::to(redis.address()).unwrap();
    let open = || Connection::open(proxy.address()).unwrap();
    let value = |key: &str| redis.command(&["GET", key]).unwrap().text();
    let error = |it: anyhow::Result<Reply>| format!("{:#}", it.unwrap_err());

    let mut connection = open();
    connection.command(&["SET", "n", "1"]).unwrap();
    proxy.cut();
    assert!(error(connection.command(&["INCR", "n"])).contains("reset"));
    assert_eq!(value("n"), "1");

    // Executed, and the client does not learn about it.
    let mut connection = open();
    proxy.truncate_after(2);
    assert!(error(connection.command(&["INCR", "n"])).contains("closed the connection"));
    assert_eq!(value("n"), "2");

    for (direction, done) in [(Direction::ToServer, "2"), (Direction::ToClient, "3")] {
        let mut lost = TcpStream::connect(proxy.address()).unwrap();
        proxy.swallow(direction);
        let before = proxy.swallowed();
        lost.write_all(b"INCR n\r\n").unwrap();
        wait_until("it is swallowed", LIMIT, || proxy.swallowed() > before).unwrap();
        assert!(is_quiet(&mut lost));
        assert_eq!(value("n"), done);
        proxy.pass();
    }

    proxy.delay(QUIET);
    let start = Instant::now();
    open().command(&["PING"]).unwrap();
    assert!(start.elapsed() >= QUIET);
}

#[test]
fn held_bytes_arrive_after_their_client_has_disconnected() {
    let (echo, ends) = echo();
    let proxy = Proxy::to(echo).unwrap();
    let (mut left, mut waiting) = (connect(&proxy), connect(&proxy));
    for it in [&mut left, &mut waiting] {
        assert_eq!(say(it, "hello"), "hello");
    }
    proxy.hold_open();
    for it in [&mut left, &mut waiting] {
        it.write_all(b"late").unwrap();
    }
    drop(left);
    let mut other = connect(&proxy);
    assert_eq!(say(&mut other, "new"), "new");
    waiting.set_read_timeout(Some(QUIET)).unwrap();
    let mut bytes = [0; 4];
    assert!(waiting.read(&mut bytes).is_err(), "bytes arrived although they are held");
    wait_until("both are held back", LIMIT, || proxy.held() == 2).unwrap();
    assert!(ends.try_recv().is_err());

    proxy.release();
    waiting.set_read_timeout(Some(LIMIT)).unwrap();
    waiting.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"late");
    ends.recv_timeout(LIMIT).unwrap().unwrap();
    wait_until("both have arrived", LIMIT, || proxy.held() == 0).unwrap();
}
