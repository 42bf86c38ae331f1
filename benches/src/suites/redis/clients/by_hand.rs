use std::{collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use redis::{
    AsyncConnectionConfig, Client as Opener, IntoConnectionInfo as _, Script,
    aio::MultiplexedConnection, cmd, io::tcp::TcpSettings, pipe,
};

use crate::suites::network::{
    calls::{Client, found},
    inputs::{Inputs, MANY, User},
};

/// Direct use of the crate `redis`.
pub(in super::super) struct ByHand {
    /// The connections. A key always uses the same connection.
    connections: Vec<MultiplexedConnection>,
    incr: Script,
    inputs: Arc<Inputs>,
}

const MILLIS: u64 = 3_600_000;

impl ByHand {
    pub(super) async fn connect(
        url: &str,
        connections: usize,
        inputs: &Arc<Inputs>,
    ) -> Result<Self> {
        let tcp = TcpSettings::default().set_nodelay(true);
        let opener = Opener::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
        // The long deadline of `cache-redis`, for a busy machine.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
        let mut res = Vec::new();
        for _ in 0..connections {
            res.push(opener.get_multiplexed_async_connection_with_config(&config).await?);
        }
        // The promise of `cache-redis`: an absent key is not created.
        let incr = Script::new(
            r#"if redis.call("EXISTS", KEYS[1]) == 0 then return false end
            return redis.call("INCRBY", KEYS[1], ARGV[1])"#,
        );
        Ok(Self { connections: res, incr, inputs: Arc::clone(inputs) })
    }

    fn connection(&self, n: usize) -> MultiplexedConnection {
        self.connections[n % self.connections.len()].clone()
    }

    pub(super) async fn incrby(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let count: i64 =
            cmd("INCRBY").arg(self.inputs.counter_key(n)).arg(1).query_async(&mut it).await?;
        black_box(count);
        Ok(())
    }
}

impl Client for ByHand {
    async fn get(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let bytes: Option<Vec<u8>> =
            cmd("GET").arg(self.inputs.key(n)).query_async(&mut it).await?;
        black_box(serde_json::from_slice::<User>(&found(bytes)?)?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let bytes: Option<Vec<u8>> =
            cmd("GET").arg(self.inputs.key(n)).query_async(&mut it).await?;
        black_box(found(bytes)?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let json = serde_json::to_vec(&self.inputs.value)?;
        let key = self.inputs.key(n);
        cmd("SET").arg(key).arg(json).arg("PX").arg(MILLIS).exec_async(&mut it).await?;
        Ok(())
    }

    async fn incr(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let key = self.inputs.counter_key(n);
        let count: Option<i64> = self.incr.key(key).arg(1).invoke_async(&mut it).await?;
        black_box(found(count)?);
        Ok(())
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let mut get = cmd("MGET");
        for key in self.inputs.many_keys(n) {
            get.arg(key);
        }
        let all: Vec<Option<Vec<u8>>> = get.query_async(&mut it).await?;
        let mut values: HashMap<&str, User> = HashMap::with_capacity(MANY);
        for (name, bytes) in self.inputs.many(n).zip(all) {
            if let Some(bytes) = bytes {
                values.insert(name, serde_json::from_slice(&bytes)?);
            }
        }
        ensure!(values.len() == MANY, "{} values", values.len());
        black_box(values);
        Ok(())
    }

    async fn set_many(&self, n: usize) -> Result<()> {
        let mut it = self.connection(n);
        let mut all = pipe();
        for key in self.inputs.many_keys(n) {
            let json = serde_json::to_vec(&self.inputs.value)?;
            all.cmd("SET").arg(key).arg(json).arg("PX").arg(MILLIS).ignore();
        }
        all.exec_async(&mut it).await?;
        Ok(())
    }
}
