//! The store of `tower-sessions`.

use std::collections::HashMap;

use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions_core::{
    SessionStore,
    session::{Id, Record},
    session_store::{Error, Result},
};

use super::{
    CacheSessionStore, SessionRejected,
    calls::{Failure, IDS},
    names::json,
    stored::Values,
};

/// `create` is `add`, and `save` only changes an existing session: see
/// [`SessionRejected`].
#[async_trait::async_trait]
impl SessionStore for CacheSessionStore {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let (values, expires) = (texts(&record.data)?, nanos(record.expiry_date));
        for _ in 0..IDS {
            // Never the id of the record: after a `flush`, it is that of the deleted session, which
            // other requests may still save.
            let id = Id::default();
            let added = self.add(&id.to_string(), values.clone(), expires).await;
            if let Some(values) = added.map_err(failed)? {
                (record.id, record.data) = (id, parsed(values)?);
                return Ok(());
            }
        }
        Err(rejected(SessionRejected::NoFreeId))
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let values = texts(&record.data)?;
        let saved = self.write(&record.id.to_string(), values, nanos(record.expiry_date)).await;
        saved.map_err(|failure| match failure {
            Failure::Cache(error) => failed(error),
            Failure::Rejected(why) => rejected(why),
        })
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let Some((values, expires)) = self.read(&id.to_string()).await.map_err(failed)? else {
            return Ok(None);
        };
        let expiry_date = OffsetDateTime::from_unix_timestamp_nanos(expires.into());
        let expiry_date = expiry_date.map_err(|it| Error::Decode(it.to_string()))?;
        // A coarse store keeps an entry up to two seconds longer.
        if expiry_date <= OffsetDateTime::now_utc() {
            return Ok(None);
        }
        Ok(Some(Record { id: *id, data: parsed(values)?, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.remove(&id.to_string()).await.map_err(failed)
    }
}

fn texts(data: &HashMap<String, Value>) -> Result<Values> {
    let texts = data.iter().map(|(name, value)| Ok((name.clone(), json(value)?)));
    texts.collect::<cache_core::Result<_>>().map_err(failed)
}

fn parsed(values: Values) -> Result<HashMap<String, Value>> {
    let parsed = values.into_iter().map(|(name, text)| {
        let value = serde_json::from_str(&text).map_err(|it| {
            // The text of the error may quote the value.
            let what = format!("a session value is not JSON: {:?} error", it.classify());
            Error::Decode(what)
        });
        Ok((name, value?))
    });
    parsed.collect()
}

/// Returns nanoseconds since 1970, at most until the year 2262.
fn nanos(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of `map_err`")]
fn failed(error: cache_core::Error) -> Error {
    match error.kind() {
        cache_core::ErrorKind::Codec => Error::Encode(error.to_string()),
        _ => Error::Backend(error.to_string()),
    }
}

fn rejected(why: SessionRejected) -> Error {
    Error::Backend(why.to_string())
}
