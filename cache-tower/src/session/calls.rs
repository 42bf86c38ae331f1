//! The calls of both session stores, on values as JSON texts.

use std::time::{Duration, SystemTime};

use cache_core::{Cache, Error, ErrorKind, Result, Timeout};

use super::{
    CacheSessionStore, SessionRejected,
    names::{self, json},
    stored::{LOADED, Loaded, Stored, Values},
};

/// How many ids the creation of a session tries. With random ids, the second one is free.
pub(super) const IDS: usize = 8;

/// A call that failed.
pub(super) enum Failure {
    Cache(Error),
    Rejected(SessionRejected),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl CacheSessionStore {
    /// Stores a new session. Returns its values with the note for later saves, and `None` if the id
    /// is taken.
    pub(super) async fn add(
        &self,
        id: &str,
        mut values: Values,
        expires: i64,
    ) -> Result<Option<Values>> {
        Loaded::take(&mut values);
        let loaded = Loaded::new(values.clone());
        let stored = Stored::new(expires, values);
        let cache = self.tagged(&stored.values);
        if !cache.add(&self.key(id), &stored, at(expires)).await? {
            return Ok(None);
        }
        self.with_note(stored.values, &loaded).map(Some)
    }

    /// Returns the values of a session, with the note for its save, and when it expires.
    pub(super) async fn read(&self, id: &str) -> Result<Option<(Values, i64)>> {
        let stored: Stored = match self.cache.get(&self.key(id)).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            // A request cannot repair these, and its user must be able to log in again.
            Err(error) if matches!(error.kind(), ErrorKind::Codec | ErrorKind::WrongType) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let values = self.with_note(stored.values.clone(), &Loaded::new(stored.values))?;
        Ok(Some((values, stored.expires)))
    }

    /// Saves the changes of a session.
    pub(super) async fn write(
        &self,
        id: &str,
        mut values: Values,
        expires: i64,
    ) -> Result<(), Failure> {
        let loaded = Loaded::take(&mut values);
        let cache = self.tagged(&values);
        let Some(loaded) = loaded else {
            let stored = Stored::new(expires, values);
            let is_saved = cache.replace(&self.key(id), &stored, at(expires)).await?;
            return if is_saved { Ok(()) } else { Err(SessionRejected::Deleted.into()) };
        };
        let mut res = Ok(());
        let change = |stored: Option<Stored>| match stored.map(|it| it.merge(&loaded, &values)) {
            Some(Ok(stored)) => Some(Stored { expires, ..stored }),
            Some(Err(_)) => {
                res = Err(SessionRejected::Conflict.into());
                None
            }
            None if values == loaded.values => None,
            None => {
                res = Err(SessionRejected::Deleted.into());
                None
            }
        };
        if cache.upsert(&self.key(id), at(expires), change).await?.is_some() {
            return Ok(());
        }
        res
    }

    /// Sets when a session expires.
    #[cfg(feature = "actix-session")]
    pub(super) async fn touch(&self, id: &str, expires: i64) -> Result<()> {
        self.cache.touch(&self.key(id), at(expires)).await.map(drop)
    }

    /// Deletes a session.
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        self.cache.delete(&self.key(id)).await.map(drop)
    }

    fn key(&self, id: &str) -> String {
        names::hashed(&self.prefix, id)
    }

    /// Returns the cache with the tag of the user of this session.
    fn tagged(&self, values: &Values) -> Cache {
        match self.user_key.as_deref().and_then(|it| values.get(it)) {
            Some(user) => self.cache.with_tags([names::user_tag(&self.prefix, user)]),
            None => self.cache.clone(),
        }
    }

    fn with_note(&self, mut values: Values, loaded: &Loaded) -> Result<Values> {
        if !self.overwrites {
            values.insert(LOADED.to_owned(), json(loaded)?);
        }
        Ok(values)
    }
}

impl From<SessionRejected> for Failure {
    fn from(rejected: SessionRejected) -> Self {
        Self::Rejected(rejected)
    }
}

fn at(expires: i64) -> Timeout {
    let since_1970 = Duration::from_nanos(expires.try_into().unwrap_or(0));
    Timeout::At(SystemTime::UNIX_EPOCH + since_1970)
}
