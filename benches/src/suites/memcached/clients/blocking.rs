use std::{collections::HashMap, hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use tokio::task::spawn_blocking;

use crate::suites::network::{
    calls::{Client, found},
    inputs::{Inputs, MANY, User},
};

/// The blocking client of the crate `memcache` in `spawn_blocking`.
pub(in super::super) struct Blocking {
    client: memcache::Client,
    inputs: Arc<Inputs>,
}

const SECONDS: u32 = 3600;

impl Blocking {
    pub(super) fn connect(address: &str, connections: usize, inputs: &Arc<Inputs>) -> Result<Self> {
        let url = format!("memcache://{address}?protocol=ascii");
        let client = memcache::Client::with_pool_size(url, connections.try_into()?)?;
        Ok(Self { client, inputs: Arc::clone(inputs) })
    }

    async fn on_a_thread<R: Send + 'static>(
        &self,
        call: impl FnOnce(&memcache::Client, &Inputs) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (client, inputs) = (self.client.clone(), Arc::clone(&self.inputs));
        spawn_blocking(move || call(&client, &inputs)).await?
    }
}

impl Client for Blocking {
    async fn get(&self, n: usize) -> Result<()> {
        let call = move |client: &memcache::Client, inputs: &Inputs| {
            Ok(serde_json::from_slice::<User>(&found(client.get::<Vec<u8>>(inputs.key(n))?)?)?)
        };
        black_box(self.on_a_thread(call).await?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        let call = move |client: &memcache::Client, inputs: &Inputs| {
            found(client.get::<Vec<u8>>(inputs.key(n))?)
        };
        black_box(self.on_a_thread(call).await?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        self.on_a_thread(move |client, inputs| {
            let json = serde_json::to_vec(&inputs.value)?;
            Ok(client.set(inputs.key(n), json.as_slice(), SECONDS)?)
        })
        .await
    }

    /// Increments without a check of the old value.
    async fn incr(&self, n: usize) -> Result<()> {
        self.on_a_thread(move |client, inputs| {
            black_box(client.increment(inputs.counter_key(n), 1)?);
            Ok(())
        })
        .await
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        self.on_a_thread(move |client, inputs| {
            let keys: Vec<&str> = inputs.many_keys(n).collect();
            let mut values: HashMap<String, User> = HashMap::with_capacity(MANY);
            for (key, bytes) in client.gets::<Vec<u8>>(&keys)? {
                values.insert(key, serde_json::from_slice(&bytes)?);
            }
            ensure!(values.len() == MANY, "{} values", values.len());
            black_box(values);
            Ok(())
        })
        .await
    }

    /// Sets one key after the other, because the client has no batch for sets.
    async fn set_many(&self, n: usize) -> Result<()> {
        self.on_a_thread(move |client, inputs| {
            for key in inputs.many_keys(n) {
                let json = serde_json::to_vec(&inputs.value)?;
                client.set(key, json.as_slice(), SECONDS)?;
            }
            Ok(())
        })
        .await
    }
}
