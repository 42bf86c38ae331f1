//! Servers that report changes, each with another client that writes there.

use std::fmt;

use cache_core::Cache;
use test_servers::{Postgres, Proxy, Redis, Server, resp::Connection};
use tokio_postgres::{Client, NoTls};

use crate::support::{HASTY, connected};

/// A server that reports changes of any writer.
pub(crate) enum Far {
    Redis(Redis),
    /// The table has triggers.
    Postgres(Postgres),
}

/// Writes the key `k` of a table.
pub(crate) const UPSERT: &str = "INSERT INTO cache (key, value) VALUES (':1:k', $1) \
                                 ON CONFLICT (key) DO UPDATE SET value = excluded.value";

impl Far {
    pub(crate) fn all() -> [Self; 2] {
        // A crash of the server loses no table.
        let postgres = Postgres::start_with(&["synchronous_commit=on"]).unwrap();
        [Self::Redis(Redis::start().unwrap()), Self::Postgres(postgres)]
    }

    pub(crate) fn server(&self) -> &dyn Server {
        match self {
            Self::Redis(it) => it,
            Self::Postgres(it) => it,
        }
    }

    /// Returns a cache with a near tier, after the stream has begun.
    pub(crate) async fn reader(&self) -> Cache {
        self.reader_at(&self.url(), "").await
    }

    /// As [`reader`](Self::reader), with the default deadlines.
    pub(crate) async fn hasty_reader(&self) -> Cache {
        self.reader_at(&self.url(), HASTY).await
    }

    /// As [`reader`](Self::reader), through a proxy.
    pub(crate) async fn reader_through(&self, proxy: &Proxy) -> Cache {
        self.reader_at(&self.url_through(proxy), "").await
    }

    /// As [`hasty_reader`](Self::hasty_reader), through a proxy.
    pub(crate) async fn hasty_reader_through(&self, proxy: &Proxy) -> Cache {
        self.reader_at(&self.url_through(proxy), HASTY).await
    }

    fn url(&self) -> String {
        match self {
            Self::Redis(it) => it.url(),
            Self::Postgres(it) => it.url(),
        }
    }

    fn url_through(&self, proxy: &Proxy) -> String {
        match self {
            Self::Redis(_) => format!("redis://{}", proxy.address()),
            Self::Postgres(_) => format!("postgres://postgres@{}/postgres", proxy.address()),
        }
    }

    async fn reader_at(&self, location: &str, more: &str) -> Cache {
        match self {
            Self::Redis(_) => connected(location, "tracking", more).await,
            Self::Postgres(_) => {
                let more = format!("options.notify_triggers = true\n{more}");
                connected(location, "postgres", &more).await
            }
        }
    }

    /// Writes the key `k` as another client.
    pub(crate) async fn write(&self, value: i64) {
        self.writer().await.write(value).await;
    }

    /// Returns another client.
    pub(crate) async fn writer(&self) -> Writer {
        match self {
            Self::Redis(it) => Writer::Redis(it.connect().unwrap()),
            Self::Postgres(it) => Writer::Postgres(sql(it).await),
        }
    }

    /// Ends the connections of the caches.
    pub(crate) async fn end_connections(&self) {
        match self {
            Self::Redis(it) => {
                it.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
            }
            Self::Postgres(it) => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name = 'cache-db'";
                sql(it).await.query(end, &[]).await.unwrap();
            }
        }
    }
}

/// A client that is not a cache.
pub(crate) enum Writer {
    Redis(Connection),
    Postgres(Client),
}

impl Writer {
    /// Writes the key `k`.
    pub(crate) async fn write(&mut self, value: i64) {
        let value = value.to_string();
        match self {
            Self::Redis(it) => {
                it.command(&["SET", ":1:k", &value]).unwrap();
            }
            Self::Postgres(it) => {
                it.execute(UPSERT, &[&value.as_bytes()]).await.unwrap();
            }
        }
    }
}

/// Connects as another program does.
pub(crate) async fn sql(server: &Postgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl fmt::Debug for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
        })
    }
}
