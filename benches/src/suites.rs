//! The suites, one file each.

#[cfg(target_os = "linux")]
pub mod consistency;
#[cfg(target_os = "linux")]
pub mod db;
pub mod facade;
#[cfg(target_os = "linux")]
pub mod file;
pub mod layers;
pub mod load;
#[cfg(target_os = "linux")]
pub mod memcached;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod near;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
pub mod redis;
mod rounds;
pub mod web;

use anyhow::Result;

use crate::harness::{Bench, Contest};

/// The cases of one part of the library.
#[derive(Debug)]
pub struct Suite {
    /// The name on the command line.
    pub name: &'static str,
    /// Measures and reports the results.
    pub run: fn(&mut Bench<'_>) -> Result<()>,
}

/// All suites, in the order in which they run.
pub const SUITES: &[Suite] = &[
    Suite { name: facade::NAME, run: facade::run },
    Suite { name: layers::NAME, run: layers::run },
    Suite { name: load::NAME, run: load::run },
    Suite { name: memory::NAME, run: memory::run },
    #[cfg(target_os = "linux")]
    Suite { name: file::NAME, run: file::run },
    #[cfg(target_os = "linux")]
    Suite { name: redis::NAME, run: redis::run },
    #[cfg(target_os = "linux")]
    Suite { name: memcached::NAME, run: memcached::run },
    #[cfg(target_os = "linux")]
    Suite { name: db::NAME, run: db::run },
    #[cfg(target_os = "linux")]
    Suite { name: consistency::NAME, run: consistency::run },
    #[cfg(target_os = "linux")]
    Suite { name: near::NAME, run: near::run },
    Suite { name: web::NAME, run: web::run },
];

/// Calls `count` with the contests of stores on servers, whose allocations are counted, suite by
/// suite.
#[cfg(target_os = "linux")]
pub fn on_servers(mut count: impl FnMut(&str, Vec<Contest<'_>>) -> Result<()>) -> Result<()> {
    redis::contests(|it| count(redis::NAME, it))?;
    memcached::contests(|it| count(memcached::NAME, it))
}

/// Calls `count` with the contests whose instructions and allocations are counted, suite by suite.
pub fn counted(mut count: impl FnMut(&str, Vec<Contest<'_>>) -> Result<()>) -> Result<()> {
    count(layers::NAME, layers::Layers::new()?.contests())?;
    count(facade::NAME, facade::contests(&facade::Fixture::new()?))
}
