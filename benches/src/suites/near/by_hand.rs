//! `moka` in front of the crate `redis`: what a program has without a near tier.

use std::{hint::black_box, sync::Arc};

use anyhow::Result;
use moka::future::Cache;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind,
    Value, aio::MultiplexedConnection, cmd, io::tcp::TcpSettings, pipe,
};

use crate::suites::network::{
    calls::found,
    inputs::{Inputs, User},
    ours::LIFETIME,
    workers::Job,
};

/// Objects in memory, and the entries in Redis. Writers publish the keys that they change.
pub(super) struct ByHand {
    near: Cache<String, Arc<User>>,
    far: MultiplexedConnection,
}

const CHANNEL: &str = "changes";

impl ByHand {
    /// Connects, and subscribes to the changes.
    pub(super) async fn connect(url: &str, entries: u64) -> Result<Self> {
        let near = Cache::builder().max_capacity(entries).time_to_live(LIFETIME).build();
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = url.into_connection_info()?.set_tcp_settings(tcp);
        let resp3 = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(resp3))?;
        let (sender, mut changes) = tokio::sync::mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        let mut far = client.get_multiplexed_async_connection_with_config(&config).await?;
        far.subscribe(CHANNEL).await?;
        let heard = near.clone();
        tokio::spawn(async move {
            while let Some(push) = changes.recv().await {
                if let Some(key) = key(&push) {
                    heard.invalidate(key).await;
                }
            }
        });
        Ok(Self { near, far })
    }

    /// Reads a key from memory, or from the server.
    pub(super) async fn get(&self, key: &str) -> Result<Arc<User>> {
        if let Some(found) = self.near.get(key).await {
            return Ok(found);
        }
        let bytes: Option<Vec<u8>> = cmd("GET").arg(key).query_async(&mut self.far.clone()).await?;
        let user = Arc::new(serde_json::from_slice::<User>(&found(bytes)?)?);
        self.near.insert(key.to_owned(), Arc::clone(&user)).await;
        Ok(user)
    }

    /// Writes a value, and publishes its key.
    pub(super) async fn set(&self, key: &str, value: &User) -> Result<()> {
        let json = serde_json::to_vec(value)?;
        let mut both = pipe();
        both.atomic()
            .cmd("SET")
            .arg(key)
            .arg(json)
            .arg("PX")
            .arg(u64::try_from(LIFETIME.as_millis())?);
        both.cmd("PUBLISH").arg(CHANNEL).arg(key).exec_async(&mut self.far.clone()).await?;
        Ok(())
    }
}

pub(super) fn gets(by_hand: &Arc<ByHand>, inputs: &Arc<Inputs>) -> Job {
    let (by_hand, inputs) = (Arc::clone(by_hand), Arc::clone(inputs));
    Arc::new(move |range| {
        let (by_hand, inputs) = (Arc::clone(&by_hand), Arc::clone(&inputs));
        Box::pin(async move {
            for n in range {
                black_box(by_hand.get(inputs.key(n)).await?);
            }
            Ok(())
        })
    })
}

/// Returns the key of a message.
fn key(push: &PushInfo) -> Option<&str> {
    match (&push.kind, &push.data[..]) {
        (PushKind::Message, [_, Value::BulkString(key)]) => str::from_utf8(key).ok(),
        _ => None,
    }
}
