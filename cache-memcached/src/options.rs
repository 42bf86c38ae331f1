//! The settings, after all checks.

use std::time::Duration;

use cache_core::{Result, config::ByteSize, store::BuildContext};
use cache_net::TlsFiles;
use serde::Deserialize;

use crate::{address::Address, login::Login, server::ITEM_OVERHEAD};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    weights: Option<Vec<u32>>,
    #[serde(default)]
    when_down: WhenDown,
    connections: Option<usize>,
    max_value_bytes: Option<ByteSize>,
    username: Option<String>,
    password: Option<String>,
    tls: Option<TlsFiles>,
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
    pub(crate) login: Option<Login>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) deadline: Duration,
    pub(crate) connect_deadline: Duration,
}

/// One connection carries several hundred thousand calls a second. See `docs/performance.md`.
const CONNECTIONS: usize = 1;
const MAX_CONNECTIONS: usize = 64;
const MAX_WEIGHT: u32 = 100;
/// The server's default item size of 1 MiB, without the share of the key and of the server's
/// header.
const MAX_VALUE_LEN: u64 = (1 << 20) - ITEM_OVERHEAD;
/// The largest item size that a server can have.
const LARGEST: u64 = 1 << 30;

impl Plan {
    pub(crate) fn read(context: &BuildContext<'_>) -> Result<Self> {
        let mut options: Options = context.options()?;
        let addresses = addresses(context)?;
        let login = login(context, options.username.take(), options.password.take())?;
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
        if options.tls.is_some() && addresses.iter().any(|it| matches!(it, Address::Unix(_))) {
            let what = "encrypts TCP connections, but the location names a unix socket";
            return wrong("options.tls", what.into());
        }
        Ok(Self {
            addresses,
            weights,
            when_down: options.when_down,
            connections,
            max_value_len: usize::try_from(max).unwrap_or(usize::MAX),
            login,
            tls: options.tls,
            deadline: context.deadline(),
            connect_deadline: context.connect_deadline(),
        })
    }
}

fn login(
    context: &BuildContext<'_>,
    username: Option<String>,
    password: Option<String>,
) -> Result<Option<Login>> {
    let wrong = |name: &str, what: &str| Err(context.error(&format!("options.{name}"), what));
    match (username, password) {
        (None, None) => Ok(None),
        (Some(_), None) => wrong("password", "is missing; options.username requires it"),
        (None, Some(_)) => wrong("username", "is missing; options.password requires it"),
        (Some(username), Some(password)) => match Login::new(username, password) {
            Ok(login) => Ok(Some(login)),
            Err((name, what)) => wrong(name, what),
        },
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
