//! Settings: reading and checking of the `[caches.<alias>]` tables, and the drivers that they name.

mod build_context;
pub(crate) mod deserializer;
mod driver;
mod env;
mod location;
mod options;
mod plan;
pub(crate) mod registry;
mod settings;
mod toml;
mod units;

pub use self::{
    build_context::BuildContext,
    driver::{Build, Driver},
    location::Location,
    options::Options,
    settings::{CacheSettings, Settings},
    units::{ByteSize, Period},
};
pub(crate) use self::{
    deserializer::{closest, list},
    plan::Plan,
    settings::shown,
    units::optional_timeout,
};
