//! The changes of the table's keys, by `LISTEN` and `NOTIFY`.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{
    Error, NearInvalidation,
    store::{Invalidation, InvalidationReceiver, Invalidations, Namespace},
};

use super::{
    connector::Connector,
    listener::{Channel, listen},
    notification, trigger,
};
use crate::options::Notify;

/// The changes of a table.
#[derive(Debug)]
pub(crate) struct Changes(pub(crate) Arc<Connector>);

#[async_trait]
impl Invalidations for Changes {
    fn ways(&self) -> &[NearInvalidation] {
        &[NearInvalidation::Postgres]
    }

    /// The server tells of a change after it has become visible to reads.
    async fn listen(&self, _: &Namespace, receiver: InvalidationReceiver) -> Error {
        let plan = &self.0.plan;
        let table = &plan.plan.table;
        let (quoted, triggers) = (table.quoted(), trigger::names(table));
        let name = notification::channel("to_regclass($1::text)::oid");
        let condition = match plan.notify {
            Notify::ByTriggers => trigger::are_complete(),
            // The parameter must occur.
            Notify::No | Notify::ByStatements => "$2::text[] IS NOT NULL".to_owned(),
        };
        let channel = Channel { name: &name, condition: &condition, params: &[&quoted, &triggers] };
        let ready = || receiver(Invalidation::Ready(NearInvalidation::Postgres));
        let receive = Arc::clone(&receiver);
        let report = move |payload: &str| report(payload, &receive);
        let heartbeat = |it| receiver(Invalidation::Heartbeat(it));
        listen(&self.0, &channel, ready, heartbeat, Arc::new(report)).await
    }
}

fn report(payload: &str, receiver: &InvalidationReceiver) {
    let Some(keys) = notification::keys(payload) else { return receiver(Invalidation::All) };
    for key in keys {
        // A key that is not text is not one of a cache.
        if let Ok(key) = str::from_utf8(&key) {
            receiver(Invalidation::Key(key));
        }
    }
}
