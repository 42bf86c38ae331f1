//! The changes of the keys of a store, for a near tier.

use std::{convert::Infallible, sync::Arc};

use async_trait::async_trait;
use cache_core::{
    Error, ErrorKind, NearInvalidation, Result,
    store::{Invalidation, InvalidationReceiver, Invalidations, Namespace, PerRuntime},
};

use crate::{
    pool::{Common, Pool},
    publishing::{self, Channels},
    push::{PushReceiver, text},
    resp::Reply,
    stream::{self, Source},
    subscription::Request,
    tracking,
};

/// The changes of the keys of all servers that take the writes.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) common: Arc<Common>,
    pub(crate) pools: Arc<PerRuntime<Pool>>,
}

impl Changes {
    async fn listen_by(
        &self,
        way: NearInvalidation,
        namespace: &Namespace,
        receiver: &InvalidationReceiver,
    ) -> Result<Infallible> {
        let pool = Pool::here(&self.common, &self.pools)?;
        let channels = self.common.channels.as_deref();
        let receive = Arc::clone(receiver);
        let (request, pushes) = if let (NearInvalidation::PubSub, Some(channels)) = (way, channels)
        {
            let report = move |message: &[Reply]| publishing::report(text(message), &*receive);
            (subscription(channels, self.common.nodes.connector.resp), PushReceiver::new(report))
        } else {
            let report = move |message: &[Reply]| tracking::report(message, &*receive);
            (tracking::request(namespace), PushReceiver::new(report))
        };
        let ready = || {
            if let Some(channels) = channels {
                channels.set_in_use(way == NearInvalidation::PubSub);
            }
            receiver(Invalidation::Ready(way));
        };
        stream::run(&pool, &self.pools, Source::Writers, &request, &pushes, ready, |heartbeat| {
            receiver(Invalidation::Heartbeat(heartbeat));
        })
        .await
    }
}

#[async_trait]
impl Invalidations for Changes {
    fn ways(&self) -> &[NearInvalidation] {
        self.common.ways
    }

    async fn listen(&self, namespace: &Namespace, receiver: InvalidationReceiver) -> Error {
        let mut refused: Option<Error> = None;
        for way in self.common.ways {
            let error = match self.listen_by(*way, namespace, &receiver).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Unsupported {
                return error;
            }
            refused = Some(match refused {
                Some(first) => {
                    let what = format!("{}; {}", first.message(), error.message());
                    Error::new(ErrorKind::Unsupported, what)
                }
                None => error,
            });
        }
        refused.unwrap_or_else(|| Error::new(ErrorKind::Unsupported, "no changes are reported"))
    }
}

/// The commands that subscribe to the channels. A user who may listen, but not publish, would not
/// report its own changes to others.
fn subscription(channels: &Channels, resp: Option<u8>) -> Request {
    let words = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
    Request {
        commands: vec![words(&channels.probe()), words(&channels.subscribe()), words(&["PING"])],
        replies: 2,
        resp,
        refused,
    }
}

#[cold]
fn refused(error: &Error) -> Error {
    let reason = error.message();
    let what = format!("the server refuses pub/sub (PUBLISH, SUBSCRIBE): {reason}");
    Error::new(ErrorKind::Unsupported, what)
}
