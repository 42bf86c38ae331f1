//! memcached and PostgreSQL.
#![cfg(target_os = "linux")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use test_servers::{Memcached, Postgres, Redis, Server, wait_until};

/// A server that is not frozen would reply within this time.
const MOMENT: Duration = Duration::from_millis(300);
/// Much longer than a reply takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns the server's reply.
fn ask(connection: &mut TcpStream, words: &[u8]) -> Vec<u8> {
    ask_within(LIMIT, connection, words)
}

fn ask_within(time: Duration, connection: &mut TcpStream, words: &[u8]) -> Vec<u8> {
    connection.set_read_timeout(Some(time)).unwrap();
    connection.write_all(words).unwrap();
    let mut bytes = vec![0; 4096];
    let n = connection.read(&mut bytes).unwrap_or(0);
    bytes.truncate(n);
    bytes
}

fn connect(server: &dyn Server) -> TcpStream {
    TcpStream::connect(server.address()).unwrap()
}

fn assert_removed_when_dropped(server: impl Server) {
    let (address, folder) = (server.address(), server.folder().to_owned());
    assert!(folder.exists());
    drop(server);
    TcpStream::connect(address).unwrap_err();
    assert!(!folder.exists());
}

#[test]
fn memcached_can_be_frozen_killed_and_restarted() {
    let memcached = Memcached::start().unwrap();
    assert_eq!(memcached.url(), format!("memcache://127.0.0.1:{}", memcached.port()));
    let mut connection = connect(&memcached);
    assert_eq!(ask(&mut connection, b"set a 0 0 1\r\nx\r\n"), b"STORED\r\n");
    memcached.freeze();
    assert_eq!(ask_within(MOMENT, &mut connection, b"get a\r\n"), b"");
    memcached.thaw();
    assert!(ask(&mut connection, b"mn\r\n").starts_with(b"VALUE a 0 1\r\nx\r\n"));
    memcached.kill();
    TcpStream::connect(memcached.address()).unwrap_err();
    memcached.restart().unwrap();
    assert_eq!(ask(&mut connect(&memcached), b"get a\r\n"), b"END\r\n");
    assert_removed_when_dropped(memcached);
}

#[test]
fn memcached_has_the_configured_sizes() {
    let memcached = Memcached::options().memory(16).item_size(2).start().unwrap();
    let settings = ask(&mut connect(&memcached), b"stats settings\r\n");
    let settings = String::from_utf8(settings).unwrap();
    assert!(settings.contains("STAT maxbytes 16777216\r\n"), "{settings}");
    assert!(settings.contains("STAT item_size_max 2048\r\n"), "{settings}");
}

/// Logs in, with the minimum of the protocol that is needed to run one statement.
fn login(postgres: &Postgres) -> TcpStream {
    let mut connection = connect(postgres);
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let mut hello = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    hello.extend(body);
    connection.write_all(&hello).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    // The last message is `Z` with length 5 and state `I` (idle).
    while !seen.ends_with(b"Z\0\0\0\x05I") {
        connection.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    connection
}

fn query(connection: &mut TcpStream, statement: &str) -> String {
    query_within(LIMIT, connection, statement)
}

fn query_within(time: Duration, connection: &mut TcpStream, statement: &str) -> String {
    let mut message = vec![b'Q'];
    message.extend(u32::try_from(statement.len() + 5).unwrap().to_be_bytes());
    message.extend(statement.as_bytes());
    message.push(0);
    String::from_utf8_lossy(&ask_within(time, connection, &message)).into_owned()
}

#[test]
fn postgres_can_be_frozen_killed_and_restarted_and_keeps_its_data() {
    let postgres = Postgres::start_with(&["max_connections=7"]).unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port());
    assert_eq!(postgres.url(), url);
    let mut connection = login(&postgres);
    assert!(query(&mut connection, "SHOW max_connections").contains("\x017"));
    assert!(query(&mut connection, "CREATE TABLE t AS SELECT 42").contains("SELECT 1"));
    // A child process replies, not the process that was started.
    postgres.freeze();
    assert_eq!(query_within(MOMENT, &mut connection, "SELECT 'frozen'"), "");
    postgres.thaw();
    assert!(query(&mut connection, "").contains("frozen"));
    postgres.kill();
    TcpStream::connect(postgres.address()).unwrap_err();
    postgres.restart().unwrap();
    assert!(query(&mut login(&postgres), "SELECT * FROM t").contains("42"));
    assert_removed_when_dropped(postgres);
}

#[test]
fn concurrent_starts_get_distinct_ports() {
    let starts = (0..8)
        .map(|_| std::thread::spawn(|| (Memcached::start().unwrap(), Redis::start().unwrap())));
    let starts: Vec<_> = starts.collect();
    let servers: Vec<_> = starts.into_iter().map(|it| it.join().unwrap()).collect();
    let mut ports: Vec<u16> = servers.iter().flat_map(|(a, b)| [a.port(), b.port()]).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 16);
}

#[test]
fn restart_waits_for_its_port() {
    let servers: [&dyn Server; 3] =
        [&Redis::start().unwrap(), &Memcached::start().unwrap(), &Postgres::start().unwrap()];
    for server in servers {
        server.kill();
        let taken = TcpListener::bind(server.address()).unwrap();
        std::thread::scope(|scope| {
            let restarted = scope.spawn(|| server.restart());
            let is_reported = || server.log().to_lowercase().contains("address already in use");
            wait_until("the server finds its port taken", LIMIT, is_reported).unwrap();
            drop(taken);
            restarted.join().unwrap().unwrap();
        });
        assert!(server.is_running());
        connect(server);
    }
}

#[test]
fn failed_start_is_an_error_with_the_output_of_the_server() {
    for err in [
        Memcached::options().args(&["--no-such-option"]).start().unwrap_err(),
        Postgres::start_with(&["no_such_setting=1"]).unwrap_err(),
    ] {
        let text = format!("{err:#}");
        assert!(text.contains("did not start on port") && text.contains("no"), "{text}");
        assert!(text.contains("such"), "{text}");
    }
}
