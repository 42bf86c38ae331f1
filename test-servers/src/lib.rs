//! Real servers for tests: Redis (alone, with replicas, with Sentinels, as a cluster), memcached
//! and PostgreSQL.
//!
//! Each server listens on a free loopback port and keeps its data in a folder of its own. Server
//! and folder are removed when the value is dropped, or when the process that started it ends for
//! any reason. A [`Server`] can be frozen, thawed, killed and restarted on its port, and a
//! [`Proxy`] in front of it delays, cuts, truncates and swallows.
//!
//! A missing server program is installed if that is allowed; otherwise the error is one line that
//! says what to type. A test cannot be skipped: without its server it fails.
//!
//! ```
//! use test_servers::{Redis, Server as _};
//!
//! # fn main() -> anyhow::Result<()> {
//! let redis = Redis::start()?;
//! assert!(redis.url().starts_with("redis://127.0.0.1:"));
//! redis.command(&["SET", "greeting", "hello"])?;
//! redis.kill();
//! assert!(redis.command(&["GET", "greeting"]).is_err());
//! redis.restart()?;
//! redis.command(&["PING"])?;
//! # Ok(())
//! # }
//! ```
//!
//! Servers that take long to start are best shared by the tests of a program in a `static`. It is
//! never dropped, but its servers end with the program.
//!
//! ```
//! use std::sync::LazyLock;
//! use test_servers::RedisCluster;
//!
//! static CLUSTER: LazyLock<RedisCluster> = LazyLock::new(|| RedisCluster::start(3, 3).unwrap());
//! assert_eq!(CLUSTER.urls().len(), 6);
//! ```
//!
//! Supports Linux only; on other systems the crate is empty.

#![cfg(target_os = "linux")]

mod authority;
pub mod command;
mod folder;
pub mod install;
mod memcached;
mod port;
mod postgres;
mod process;
pub mod proxy;
pub mod redis;
pub mod resp;
mod silent;
mod wait;

pub use self::{
    authority::{Authority, Identity},
    install::{Package, require},
    memcached::{Memcached, MemcachedOptions},
    postgres::Postgres,
    process::{Process, Server},
    proxy::Proxy,
    redis::{
        ClientCertificate, Redis, RedisCluster, RedisOptions, RedisReplicas, Sentinel, Sentinels,
        slot_of,
    },
    silent::Silent,
    wait::wait_until,
};
