//! The store of `actix-session`.

use std::collections::HashMap;

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use time::{Duration, OffsetDateTime};

use super::{
    CacheSessionStore, SessionRejected,
    calls::{Failure, IDS},
    stored::Values,
};

/// `save` is `add`, and `update` only changes an existing session: see [`SessionRejected`].
impl SessionStore for CacheSessionStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        match self.read(key.as_ref()).await {
            Ok(found) => Ok(found.map(|(values, _)| values.into_iter().collect())),
            Err(error) => Err(LoadError::Other(error.into())),
        }
    }

    async fn save(
        &self,
        state: HashMap<String, String>,
        ttl: &Duration,
    ) -> Result<SessionKey, SaveError> {
        let (values, expires) = (state.into_iter().collect::<Values>(), after(ttl));
        for _ in 0..IDS {
            let key = generate_session_key();
            match self.add(key.as_ref(), values.clone(), expires).await {
                Ok(Some(_)) => return Ok(key),
                Ok(None) => {}
                Err(error) => return Err(SaveError::Other(error.into())),
            }
        }
        Err(SaveError::Other(SessionRejected::NoFreeId.into()))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        match self.write(key.as_ref(), state.into_iter().collect(), after(ttl)).await {
            Ok(()) => Ok(key),
            Err(Failure::Cache(error)) => Err(UpdateError::Other(error.into())),
            Err(Failure::Rejected(why)) => Err(UpdateError::Other(why.into())),
        }
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> Result<(), anyhow::Error> {
        Ok(self.touch(key.as_ref(), after(ttl)).await?)
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        Ok(self.remove(key.as_ref()).await?)
    }
}

/// Returns the time after this duration, in nanoseconds since 1970.
fn after(ttl: &Duration) -> i64 {
    let nanos = OffsetDateTime::now_utc().unix_timestamp_nanos();
    i64::try_from(nanos.saturating_add(ttl.whole_nanoseconds())).unwrap_or(i64::MAX)
}
