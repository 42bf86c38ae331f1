//! A web service over loopback: a page of 11 KB, with and without a layer, and with other caches
//! of pages; and functions that an attribute keeps, without HTTP.
//!
//! Each contender is an axum service with a listener of its own. Clients keep their connections
//! and send the next request when the response is complete. Clients and services share the
//! processors, so the rates are those of both together.

mod attribute;
mod client;
mod layers;
mod pages;
mod server;

use anyhow::Result;

use crate::harness::Bench;

/// The name of the suite on the command line.
pub const NAME: &str = "web";

/// Measures caches of functions and of pages, and each other layer beside the service without it.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    attribute::run(bench)?;
    pages::run(bench)?;
    layers::run(bench)
}
