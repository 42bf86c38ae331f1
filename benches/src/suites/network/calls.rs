//! The calls of a client, and tasks that repeat a call.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::workers::Job;

/// A measured call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::suites) enum Call {
    Get,
    GetBytes,
    Set,
    Incr,
    GetMany,
    SetMany,
}

pub(in crate::suites) const CALLS: [Call; 6] =
    [Call::Get, Call::GetBytes, Call::Set, Call::Incr, Call::GetMany, Call::SetMany];

/// A contender that makes the calls. A call fails if it does not find the stored entry.
pub(in crate::suites) trait Client: Send + Sync + 'static {
    fn get(&self, n: usize) -> impl Future<Output = Result<()>> + Send;
    fn get_bytes(&self, n: usize) -> impl Future<Output = Result<()>> + Send;
    fn set(&self, n: usize) -> impl Future<Output = Result<()>> + Send;
    fn incr(&self, n: usize) -> impl Future<Output = Result<()>> + Send;
    fn get_many(&self, n: usize) -> impl Future<Output = Result<()>> + Send;
    fn set_many(&self, n: usize) -> impl Future<Output = Result<()>> + Send;
}

/// Makes tasks that repeat one method. A macro, because a task that chooses the method would have a
/// future as large as that of the largest method.
macro_rules! each {
    ($client:expr, $method:ident) => {{
        let client = std::sync::Arc::clone($client);
        let job: $crate::suites::network::workers::Job = std::sync::Arc::new(move |range| {
            let client = std::sync::Arc::clone(&client);
            Box::pin(async move {
                for n in range {
                    client.$method(n).await?;
                }
                Ok(())
            })
        });
        job
    }};
}
pub(in crate::suites) use each;

/// Returns what a client found, or an error.
pub(in crate::suites) fn found<T>(it: Option<T>) -> Result<T> {
    it.context("the key is absent")
}

/// Makes tasks that all increment one key.
pub(in crate::suites) fn count_one_key(client: &Arc<impl Client>) -> Job {
    let client = Arc::clone(client);
    Arc::new(move |range| {
        let client = Arc::clone(&client);
        Box::pin(async move {
            for _ in range {
                client.incr(0).await?;
            }
            Ok(())
        })
    })
}

impl Call {
    pub(in crate::suites) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetBytes => "get_bytes",
            Self::Set => "set",
            Self::Incr => "incr",
            Self::GetMany => "get_many_100",
            Self::SetMany => "set_many_100",
        }
    }

    /// Makes tasks that repeat this call with a client.
    pub(in crate::suites) fn of<C: Client>(self, client: &Arc<C>) -> Job {
        match self {
            Self::Get => each!(client, get),
            Self::GetBytes => each!(client, get_bytes),
            Self::Set => each!(client, set),
            Self::Incr => each!(client, incr),
            Self::GetMany => each!(client, get_many),
            Self::SetMany => each!(client, set_many),
        }
    }
}
