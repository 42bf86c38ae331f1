//! Sequences of commands of other libraries, with the crate `redis`.

use std::{hint::black_box, net::SocketAddr, sync::Arc};

use anyhow::{Result, ensure};
use redis::{
    Client, IntoConnectionInfo as _, Script, aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
};

use super::calls::{Call, Contender, VALUE_BYTES, next};
use crate::suites::network::calls::{each, found};

const SECONDS: u64 = 3_600;
/// Before all keys.
const PREFIX: &str = "by-hand";
/// The script by which Laravel and redis-py release a lock.
const RELEASE: &str = r#"if redis.call("get",KEYS[1]) == ARGV[1] then
    return redis.call("del",KEYS[1])
else
    return 0
end"#;

struct ByHand {
    connection: MultiplexedConnection,
    release: Script,
    value: String,
}

pub(super) async fn contenders(address: SocketAddr) -> Result<Vec<Contender>> {
    let tcp = TcpSettings::default().set_nodelay(true);
    let url = format!("redis://{address}");
    let client = Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
    let it = Arc::new(ByHand {
        connection: client.get_multiplexed_async_connection().await?,
        release: Script::new(RELEASE),
        value: "x".repeat(VALUE_BYTES),
    });
    it.set(0).await?;
    let of = |call, name, job| Contender { call, name, job };
    Ok(vec![
        of(Call::Hit, "redis", each!(&it, get)),
        of(Call::Miss, "laravel", each!(&it, laravel_remember)),
        of(Call::Miss, "django_get_or_set", each!(&it, django_get_or_set)),
        of(Call::Refresh, "redis", each!(&it, set)),
        of(Call::Lock, "laravel", each!(&it, laravel_lock)),
        of(Call::Lock, "django-redis_lock", each!(&it, django_redis_lock)),
    ])
}

fn key(kind: &str) -> String {
    format!("{PREFIX}:{kind}:{}", next())
}

impl ByHand {
    async fn get(&self, _: usize) -> Result<()> {
        let mut it = self.connection.clone();
        let value: Option<String> = cmd("GET").arg(PREFIX).query_async(&mut it).await?;
        black_box(found(value)?);
        Ok(())
    }

    async fn set(&self, _: usize) -> Result<()> {
        let mut it = self.connection.clone();
        let mut set = cmd("SETEX");
        Ok(set.arg(PREFIX).arg(SECONDS).arg(&self.value).exec_async(&mut it).await?)
    }

    /// `Repository::remember` and `RedisStore::put` of Laravel: `GET`, `SETEX`.
    async fn laravel_remember(&self, _: usize) -> Result<()> {
        let (mut it, key) = (self.connection.clone(), key("remember"));
        let value: Option<String> = cmd("GET").arg(&key).query_async(&mut it).await?;
        ensure!(value.is_none(), "the key exists");
        Ok(cmd("SETEX").arg(&key).arg(SECONDS).arg(&self.value).exec_async(&mut it).await?)
    }

    /// `BaseCache.get_or_set` of Django with its backend for Redis: `GET`, `SET NX`, `GET`.
    async fn django_get_or_set(&self, _: usize) -> Result<()> {
        let (mut it, key) = (self.connection.clone(), key("get-or-set"));
        let value: Option<String> = cmd("GET").arg(&key).query_async(&mut it).await?;
        ensure!(value.is_none(), "the key exists");
        let mut add = cmd("SET");
        add.arg(&key).arg(&self.value).arg("EX").arg(SECONDS).arg("NX");
        add.exec_async(&mut it).await?;
        let value: Option<String> = cmd("GET").arg(&key).query_async(&mut it).await?;
        black_box(found(value)?);
        Ok(())
    }

    /// `RedisLock` of Laravel: `SET NX EX`, and the script by its source.
    async fn laravel_lock(&self, n: usize) -> Result<()> {
        let (mut it, key, owner) = (self.connection.clone(), key("lock"), n.to_string());
        let mut add = cmd("SET");
        add.arg(&key).arg(&owner).arg("EX").arg(SECONDS).arg("NX");
        let is_new: Option<String> = add.query_async(&mut it).await?;
        ensure!(is_new.is_some(), "the lock has an owner");
        let mut release = cmd("EVAL");
        release.arg(RELEASE).arg(1).arg(&key).arg(&owner);
        let released: i64 = release.query_async(&mut it).await?;
        ensure!(released == 1, "the lock was lost");
        Ok(())
    }

    /// The lock of django-redis, which is that of redis-py: `SET NX PX`, and the script by its
    /// digest.
    async fn django_redis_lock(&self, n: usize) -> Result<()> {
        let (mut it, key, owner) = (self.connection.clone(), key("lock"), n.to_string());
        let mut add = cmd("SET");
        add.arg(&key).arg(&owner).arg("NX").arg("PX").arg(1000 * SECONDS);
        let is_new: Option<String> = add.query_async(&mut it).await?;
        ensure!(is_new.is_some(), "the lock has an owner");
        let released: i64 = self.release.key(&key).arg(&owner).invoke_async(&mut it).await?;
        ensure!(released == 1, "the lock was lost");
        Ok(())
    }
}
