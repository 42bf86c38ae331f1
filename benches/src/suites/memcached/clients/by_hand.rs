use std::{collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use memcache::exp::{AsyncMetaClient, Get, Meta, Set, Ttl};

use crate::suites::network::{
    calls::{Client, found},
    inputs::{Inputs, MANY, User},
};

/// Direct use of the async client of the crate `memcache`.
pub(in super::super) struct ByHand {
    client: AsyncMetaClient,
    inputs: Arc<Inputs>,
}

const LIFETIME: Ttl = Ttl::secs(3600);

impl ByHand {
    pub(super) async fn connect(
        address: &str,
        connections: Option<usize>,
        inputs: &Arc<Inputs>,
    ) -> Result<Self> {
        // The long deadline of `cache-memcached`, for a busy machine.
        let time = Some(Duration::from_secs(10));
        let mut builder = AsyncMetaClient::builder().io_timeout(time).connect_timeout(time);
        if let Some(it) = connections {
            builder = builder.max_connections(Some(it)).max_idle(it);
        }
        let client = builder.connect_async(address).await?;
        Ok(Self { client, inputs: Arc::clone(inputs) })
    }

    /// Writes the entries that these clients read. The keys of `cache-memcached` are different.
    pub(super) async fn fill(&self) -> Result<()> {
        for n in 0..self.inputs.all().0.len() {
            self.set(n).await?;
            let set = self.client.set(self.inputs.counter_key(n), "0").ttl(LIFETIME);
            ensure!(set.send().await?.applied(), "the value was not stored");
        }
        Ok(())
    }

    pub(super) async fn increment(&self, n: usize) -> Result<()> {
        let count = self.client.increment(self.inputs.counter_key(n)).send().await?;
        black_box(found(count.value)?);
        Ok(())
    }
}

impl Client for ByHand {
    async fn get(&self, n: usize) -> Result<()> {
        let bytes = self.client.get(self.inputs.key(n)).send().await?.value;
        black_box(serde_json::from_slice::<User>(&found(bytes)?)?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        black_box(found(self.client.get(self.inputs.key(n)).send().await?.value)?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        let json = serde_json::to_vec(&self.inputs.value)?;
        let set = self.client.set(self.inputs.key(n), json).ttl(LIFETIME).send().await?;
        ensure!(set.applied(), "the value was not stored");
        Ok(())
    }

    /// Increments like `cache-memcached`: only numbers, and only the value that was read.
    async fn incr(&self, n: usize) -> Result<()> {
        let key = self.inputs.counter_key(n);
        loop {
            let seen = self.client.get(key).meta(Meta::default().cas()).send().await?;
            let text = String::from_utf8(found(seen.value)?)?;
            let old: i64 = text.parse()?;
            let new = old.checked_add(1).context("too large")?;
            ensure!(old >= 0, "the server cannot add to a negative number");
            let cas = found(seen.item.cas)?;
            if self.client.increment(key).compare_cas(cas).send().await?.applied() {
                black_box(new);
                return Ok(());
            }
        }
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        let all = self.client.run_many(self.inputs.many_keys(n).map(Get::new)).await?;
        let mut values: HashMap<&str, User> = HashMap::with_capacity(MANY);
        for (name, found) in self.inputs.many(n).zip(all) {
            if let Some(bytes) = found?.value {
                values.insert(name, serde_json::from_slice(&bytes)?);
            }
        }
        ensure!(values.len() == MANY, "{} values", values.len());
        black_box(values);
        Ok(())
    }

    async fn set_many(&self, n: usize) -> Result<()> {
        let json = || serde_json::to_vec(&self.inputs.value);
        let sets: Vec<Set> = self
            .inputs
            .many_keys(n)
            .map(|key| Ok(Set::new(key, json()?).ttl(LIFETIME)))
            .collect::<Result<_>>()?;
        for set in self.client.run_many(sets).await? {
            ensure!(set?.applied(), "the value was not stored");
        }
        Ok(())
    }
}
