//! The settings, after all checks.

use std::time::Duration;

use cache_core::{Result, config::ByteSize, store::BuildContext};
use serde::Deserialize;

use crate::{address::Address, server::ITEM_OVERHEAD};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    weights: Option<Vec<u32>>,
    #[serde(default)]
    when_down: WhenDown,
    connections: Option<usize>,
    max_value_bytes: Option<ByteSize>,
}

/// The handling of keys whose server is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenDown {
    /// The keys are unavailable until the server is up again.
    #[default]
    Miss,
    /// The keys move to the next server, and later back to their own server, which may still hold
    /// old values.
    Next,
}

/// The settings of a store.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) addresses: Vec<Address>,
    pub(crate) weights: Vec<u32>,
    pub(crate) when_down: WhenDown,
    pub(crate) connections: usize,
    pub(crate) max_value_len: usize,
    pub(crate) deadline: Duration,
    pub(crate) connect_deadline: Duration,
}

/// Measured with 64 tasks and one server, compared with 16 connections: for reads of 100 bytes, 4
/// connections are 0.7 to 0.8 times as fast, and 64 are 1.04 to 1.16 times as fast. For reads of 10
/// KB, 4 are 1.1 and 64 are 0.8 times as fast. A server accepts 1024 connections by default (`-c`),
/// so 16 leave room for 64 processes. See `docs/performance.md`.
const CONNECTIONS: usize = 16;
const MAX_CONNECTIONS: usize = 1024;
const MAX_WEIGHT: u32 = 100;
/// The server's default item size of 1 MiB, without the share of the key and of the server's
/// header.
const MAX_VALUE_LEN: u64 = (1 << 20) - ITEM_OVERHEAD;
/// The largest item size that a server can have.
const LARGEST: u64 = 1 << 30;

impl Plan {
    pub(crate) fn read(context: &BuildContext<'_>) -> Result<Self> {
        let options: Options = context.options()?;
        let addresses = addresses(context)?;
        let wrong = |setting: &str, what: String| Err(context.error(setting, what));
        let weights = options.weights.unwrap_or_else(|| vec![1; addresses.len()]);
        if weights.len() != addresses.len() {
            return wrong(
                "options.weights",
                format!(
                    "has {} numbers for {} servers; expected one for each",
                    weights.len(),
                    addresses.len()
                ),
            );
        }
        if weights.iter().any(|it| !(1..=MAX_WEIGHT).contains(it)) {
            return wrong("options.weights", format!("expected numbers from 1 to {MAX_WEIGHT}"));
        }
        if options.when_down == WhenDown::Next && !context.settings().breaker.enabled {
            let what = "is \"next\", which requires a breaker to detect servers that are down; set breaker.enabled";
            return wrong("options.when_down", what.into());
        }
        let connections = options.connections.unwrap_or(CONNECTIONS);
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            return wrong("options.connections", format!("expected 1 to {MAX_CONNECTIONS}"));
        }
        let max = options.max_value_bytes.map_or(MAX_VALUE_LEN, ByteSize::bytes);
        if !(1..=LARGEST).contains(&max) {
            return wrong(
                "options.max_value_bytes",
                "expected 1 to 1 GiB, the maximum of memcached".into(),
            );
        }
        Ok(Self {
            addresses,
            weights,
            when_down: options.when_down,
            connections,
            max_value_len: usize::try_from(max).unwrap_or(usize::MAX),
            deadline: context.deadline(),
            connect_deadline: context.connect_deadline(),
        })
    }
}

fn addresses(context: &BuildContext<'_>) -> Result<Vec<Address>> {
    let mut res: Vec<Address> = Vec::new();
    for (i, entry) in context.locations().iter().enumerate() {
        let at = if context.locations().len() == 1 {
            String::new()
        } else {
            format!("entry {} ", i + 1)
        };
        let parsed =
            Address::parse_all(entry).map_err(|it| context.error("location", at.clone() + &it))?;
        for address in parsed {
            if res.contains(&address) {
                return Err(context.error("location", at + "duplicate server"));
            }
            res.push(address);
        }
    }
    if res.is_empty() {
        return Err(context.error(
            "location",
            "is missing; expected a server such as 127.0.0.1:11211, or a list of them",
        ));
    }
    Ok(res)
}
