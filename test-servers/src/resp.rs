//! A minimal client for the Redis protocol, so that tests of a client library do not depend on it.

use std::{
    fmt::Debug,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// The timeout of a connection attempt and of a reply.
const LIMIT: Duration = Duration::from_secs(60);

/// A reply of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A null reply.
    Nil,
    /// A number.
    Int(i64),
    /// A status or a value.
    Bytes(Vec<u8>),
    /// A list of replies.
    List(Vec<Reply>),
}

impl Reply {
    /// Returns the text of a status, value or number; empty for other replies.
    pub fn text(&self) -> String {
        match self {
            Self::Int(it) => it.to_string(),
            Self::Bytes(it) => String::from_utf8_lossy(it).into_owned(),
            Self::Nil | Self::List(_) => String::new(),
        }
    }

    /// Returns the elements of a list; empty for other replies.
    pub fn list(&self) -> &[Reply] {
        if let Self::List(it) = self { it } else { &[] }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection(BufReader<Box<dyn Stream>>);

trait Stream: Read + Write + Debug + Send + Sync {}

impl Stream for TcpStream {}
impl Stream for UnixStream {}

impl Connection {
    /// Connects by TCP. The connection and each reply must arrive within a few seconds.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// Connects by a unix socket.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn open_unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("cannot connect to {}", path.display()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// If the connection fails or the server replies with an error.
    pub fn command(&mut self, words: &[&str]) -> Result<Reply> {
        self.command_of_bytes(&words.iter().map(|it| it.as_bytes()).collect::<Vec<_>>())
    }

    /// Like [`command`](Self::command), with arguments of arbitrary bytes.
    ///
    /// # Errors
    /// If the connection fails or the server replies with an error.
    pub fn command_of_bytes(&mut self, words: &[&[u8]]) -> Result<Reply> {
        self.send(words).and_then(|()| self.reply()).with_context(|| {
            // Without the arguments, which may contain a password.
            let name = words.first().copied().unwrap_or_default();
            format!("command {}", String::from_utf8_lossy(name))
        })
    }

    /// Ends the connection, and waits until the server has forgotten it. A connection that is only
    /// dropped may count as one of the server's clients for a while.
    ///
    /// # Errors
    /// If the connection fails.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.command(&["QUIT"])?;
        self.0.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    fn send(&mut self, words: &[&[u8]]) -> Result<()> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for it in words {
            write!(bytes, "${}\r\n", it.len())?;
            bytes.extend_from_slice(it);
            bytes.extend_from_slice(b"\r\n");
        }
        Ok(self.0.get_mut().write_all(&bytes)?)
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else {
            bail!("the server closed the connection")
        };
        let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
        Ok(match kind {
            "+" => Reply::Bytes(rest.into()),
            "-" => bail!("the server replied: {rest}"),
            ":" => Reply::Int(rest.parse()?),
            "$" | "*" if rest == "-1" => Reply::Nil,
            "$" => {
                let mut value = vec![0; rest.parse::<usize>()? + 2];
                self.0.read_exact(&mut value)?;
                value.truncate(value.len() - 2);
                Reply::Bytes(value)
            }
            "*" => Reply::List((0..rest.parse()?).map(|_| self.reply()).collect::<Result<_>>()?),
            _ => bail!("not the Redis protocol: {line:?}"),
        })
    }
}

/// Returns the value of a `name:value` line of INFO or CLUSTER INFO.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Returns the reply that is parsed from these bytes of a server.
    fn parsed(bytes: &'static str) -> Result<Reply> {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answering = thread::spawn(move || {
            let mut client = server.accept().unwrap().0;
            let mut command = [0; 14];
            client.read_exact(&mut command).unwrap();
            assert_eq!(command, *b"*1\r\n$4\r\nPING\r\n");
            client.write_all(bytes.as_bytes()).unwrap();
        });
        let res = Connection::open(address).unwrap().command(&["PING"]);
        answering.join().unwrap();
        res
    }

    #[test]
    fn every_kind_of_reply_is_parsed() {
        assert_eq!(parsed("+PONG\r\n").unwrap().text(), "PONG");
        assert_eq!(parsed(":-7\r\n").unwrap(), Reply::Int(-7));
        assert_eq!(parsed("$-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(parsed("$4\r\na\r\nb\r\n").unwrap().text(), "a\r\nb");
        let list = parsed("*2\r\n*1\r\n:1\r\n$1\r\nx\r\n").unwrap();
        assert_eq!(list.list()[0].list(), [Reply::Int(1)]);
        assert_eq!(list.list()[1].text(), "x");
    }

    #[test]
    fn error_reply_and_invalid_reply_are_errors() {
        for (said, part) in [
            ("-ERR no\r\n", "the server replied: ERR no"),
            ("", "closed the connection"),
            ("$4\r\nab", "failed to fill"),
            ("HTTP/1.1 400\r\n", "not the Redis protocol"),
        ] {
            let err = format!("{:#}", parsed(said).unwrap_err());
            assert!(err.starts_with("command PING: ") && err.contains(part), "{said}: {err}");
        }
    }

    #[test]
    fn field_is_found_by_its_full_name() {
        let info = "# Server\r\nprocess_id_x:1\r\nprocess_id:23\r\n";
        assert_eq!(field(info, "process_id"), Some("23"));
        assert_eq!(field(info, "process"), None);
    }
}
