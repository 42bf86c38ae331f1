//! Sequences of commands of other libraries, with the crate `memcache`.

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use memcache::exp::{AsyncMetaClient, Ttl};

use super::calls::{Call, Contender, VALUE_BYTES, next};
use crate::suites::network::calls::{each, found};

const LIFETIME: Ttl = Ttl::secs(3600);
/// Before all keys.
const PREFIX: &str = "by-hand";
/// The number with which the suite `memcached` measures the client, too.
const CONNECTIONS: usize = 16;

struct ByHand {
    client: AsyncMetaClient,
    value: String,
}

pub(super) async fn contenders(address: SocketAddr) -> Result<Vec<Contender>> {
    let time = Some(Duration::from_secs(10));
    let builder = AsyncMetaClient::builder().io_timeout(time).connect_timeout(time);
    let builder = builder.max_connections(Some(CONNECTIONS)).max_idle(CONNECTIONS);
    let client = builder.connect_async(&address.to_string()).await?;
    let value = "x".repeat(VALUE_BYTES);
    let it = Arc::new(ByHand { client, value });
    it.set(0).await?;
    let of = |call, name, job| Contender { call, name, job };
    Ok(vec![
        of(Call::Hit, "memcache", each!(&it, get)),
        of(Call::Miss, "laravel", each!(&it, laravel_remember)),
        of(Call::Miss, "django_get_or_set", each!(&it, django_get_or_set)),
        of(Call::Refresh, "memcache", each!(&it, set)),
        of(Call::Lock, "laravel", each!(&it, laravel_lock)),
    ])
}

fn key(kind: &str) -> String {
    format!("{PREFIX}:{kind}:{}", next())
}

impl ByHand {
    async fn get(&self, _: usize) -> Result<()> {
        black_box(found(self.client.get(PREFIX).send().await?.value)?);
        Ok(())
    }

    async fn set(&self, _: usize) -> Result<()> {
        let set = self.client.set(PREFIX, &self.value).ttl(LIFETIME).send().await?;
        ensure!(set.applied(), "the value was not stored");
        Ok(())
    }

    /// `Repository::remember` and `MemcachedStore::put` of Laravel: `get`, `set`.
    async fn laravel_remember(&self, _: usize) -> Result<()> {
        let key = key("remember");
        ensure!(self.client.get(&key).send().await?.value.is_none(), "the key exists");
        let set = self.client.set(&key, &self.value).ttl(LIFETIME).send().await?;
        ensure!(set.applied(), "the value was not stored");
        Ok(())
    }

    /// `BaseCache.get_or_set` of Django: `get`, `add`, `get`.
    async fn django_get_or_set(&self, _: usize) -> Result<()> {
        let key = key("get-or-set");
        ensure!(self.client.get(&key).send().await?.value.is_none(), "the key exists");
        self.add(&key, &self.value).await?;
        black_box(found(self.client.get(&key).send().await?.value)?);
        Ok(())
    }

    /// `MemcachedLock` of Laravel: `add`, then `get` and `delete`, which is not atomic.
    async fn laravel_lock(&self, n: usize) -> Result<()> {
        let (key, owner) = (key("lock"), n.to_string());
        self.add(&key, &owner).await?;
        let seen = found(self.client.get(&key).send().await?.value)?;
        ensure!(seen == owner.as_bytes(), "the lock was lost");
        self.client.delete(&key).send().await?;
        Ok(())
    }

    async fn add(&self, key: &str, value: &str) -> Result<()> {
        let add = self.client.set(key, value).add().ttl(LIFETIME).send().await?;
        ensure!(add.applied(), "the key exists");
        Ok(())
    }
}
