//! The users: a table of `SQLite`, and the cache in front of it.

use std::sync::{Arc, Mutex, PoisonError};

use cache_core::cached;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use tokio::task;

use crate::error::{Error, Result};

/// A user, as the service answers and as the cache keeps it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) role: String,
}

/// A user that a client sends.
#[derive(Debug, Deserialize)]
pub(crate) struct NewUser {
    pub(crate) name: String,
    pub(crate) role: String,
}

/// The table of users. Its queries run on threads of their own, because `SQLite` blocks.
#[derive(Clone, Debug)]
pub(crate) struct Users(Arc<Mutex<Connection>>);

/// Returns a user: from the cache, or from the table. Also remembers that a user does not exist.
///
/// A hundred requests for a user who is not in the cache run one query.
#[cached(ttl = "5m", key = "user:{id}", skip(users), cache_none)]
pub(crate) async fn user(users: &Users, id: i64) -> Result<Option<User>> {
    users.find(id).await
}

impl Users {
    pub(crate) fn open(path: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS users (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL);
             INSERT OR IGNORE INTO users VALUES (1, 'Ada', 'admin'), (2, 'Bob', 'reader');",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub(crate) async fn find(&self, id: i64) -> Result<Option<User>> {
        self.query(move |it| {
            it.query_row("SELECT id, name, role FROM users WHERE id = ?1", [id], read).optional()
        })
        .await
    }

    pub(crate) async fn all(&self) -> Result<Vec<User>> {
        self.query(|it| {
            let mut query = it.prepare_cached("SELECT id, name, role FROM users ORDER BY id")?;
            query.query_map([], read)?.collect()
        })
        .await
    }

    pub(crate) async fn insert(&self, new: NewUser) -> Result<User> {
        self.query(move |it| {
            it.query_row(
                "INSERT INTO users (name, role) VALUES (?1, ?2) RETURNING id, name, role",
                params![new.name, new.role],
                read,
            )
        })
        .await
    }

    /// Returns the user as it is now, or `None` if it does not exist.
    pub(crate) async fn update(&self, id: i64, new: NewUser) -> Result<Option<User>> {
        self.query(move |it| {
            it.query_row(
                "UPDATE users SET name = ?2, role = ?3 WHERE id = ?1 RETURNING id, name, role",
                params![id, new.name, new.role],
                read,
            )
            .optional()
        })
        .await
    }

    async fn query<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.0);
        let work = move || run(&connection.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Internal("a query panicked".into()))??)
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<User> {
    Ok(User { id: row.get(0)?, name: row.get(1)?, role: row.get(2)? })
}
