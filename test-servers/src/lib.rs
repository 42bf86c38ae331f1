//! Real servers for tests: Redis (alone, with replicas, with Sentinels, as a cluster), memcached and PostgreSQL.
//!
//! Each listens on a free loopback port, keeps its data in a folder of its own, and is gone with both when it is
//! dropped or when the process that started it ends, however that ends. A [`Server`] can be frozen, thawed, killed
//! and restarted on its port, and a [`Proxy`] in front of it delays, cuts, truncates and swallows.
//!
//! What is missing is installed where that is allowed, and otherwise the error says in one line what to type. There
//! is no way to skip: a test without its server fails.
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
//! Those that take long to start are best shared by the tests of a program in a `static`: it is never dropped, and they
//! are gone all the same when the program ends.
//!
//! ```
//! use std::sync::LazyLock;
//! use test_servers::RedisCluster;
//!
//! static CLUSTER: LazyLock<RedisCluster> = LazyLock::new(|| RedisCluster::start(3, 3).unwrap());
//! assert_eq!(CLUSTER.urls().len(), 6);
//! ```
//!
//! Linux only: on other systems the crate is empty.

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
