//! A client without the store, like another program.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection without any cache.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a command of the meta protocol. Returns the first line of the reply, and the value.
    pub(crate) fn ask(&mut self, command: &str) -> (String, Option<Vec<u8>>) {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let line = self.line();
        let Some(len) = line.strip_prefix("VA ") else { return (line, None) };
        let len: usize = len.split(' ').next().unwrap().parse().unwrap();
        let mut value = vec![0; len + 2];
        self.0.read_exact(&mut value).unwrap();
        value.truncate(len);
        (line, Some(value))
    }

    /// Sends a command. Returns the line of the reply, or `None` if the server closed the
    /// connection.
    #[allow(dead_code, reason = "not all tests fill a server")]
    pub(crate) fn try_ask(&mut self, command: &str) -> Option<String> {
        // The server's message before it closed the connection can still be read.
        let _ = self.0.get_mut().write_all(format!("{command}\r\n").as_bytes());
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    }

    /// Returns the next line of a reply with several lines.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn get(&mut self, key: &str) -> Option<String> {
        self.ask(&format!("mg {key} v")).1.map(|it| String::from_utf8(it).unwrap())
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let answer = self.ask(&format!("ms {key} {}\r\n{value}", value.len()));
        assert_eq!(answer.0, "HD", "{key}");
    }
}
