//! The settings of `options`, checked together with `location`.

use std::{fmt, time::Duration};

use cache_core::{Result, config::ByteSize, store::BuildContext};
use cache_net::TlsFiles;
use serde::Deserialize;

use crate::address::{self, Address, Login};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    username: Option<String>,
    password: Option<String>,
    topology: Option<TopologyKind>,
    service_name: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
    #[serde(default)]
    read_from: ReadFrom,
    connections: Option<usize>,
    resp: Option<u8>,
    client_name: Option<String>,
    max_value_bytes: Option<ByteSize>,
    tls: Option<TlsFiles>,
}

/// How the servers relate to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TopologyKind {
    Single,
    Replicas,
    Sentinel,
    Cluster,
}

/// The servers that answer plain reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReadFrom {
    #[default]
    Leader,
    Replica,
}

/// The settings, after all checks.
pub(crate) struct Plan {
    pub(crate) topology: TopologyKind,
    /// In the order of `location`: the leader before its replicas, or the Sentinels.
    pub(crate) addresses: Vec<Address>,
    pub(crate) login: Login,
    pub(crate) sentinel: Option<Sentinel>,
    pub(crate) read_from: ReadFrom,
    pub(crate) connections: usize,
    /// 2 or 3. If it is unset, the store uses the newest version that the server supports.
    pub(crate) resp: Option<u8>,
    pub(crate) client_name: Option<String>,
    pub(crate) max_value_len: usize,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) deadline: Duration,
    pub(crate) connect_deadline: Duration,
}

/// How to query the Sentinels.
pub(crate) struct Sentinel {
    pub(crate) service_name: String,
    pub(crate) login: Login,
}

/// One connection carries several hundred thousand calls a second. Measured with 64 tasks: compared
/// with one connection, four connections are 1.4 times as fast for values of 10 KB in a runtime of
/// one thread, but 0.8 to 0.9 times as fast for reads of 100 bytes (393 k/s instead of 480 k/s;
/// with two workers 194 k/s instead of 212 k/s). See `docs/performance.md`.
const CONNECTIONS: usize = 1;
const MAX_CONNECTIONS: usize = 64;
/// The server's default of `proto-max-bulk-len`. A longer value ends the connection.
pub(crate) const MAX_VALUE_LEN: u64 = 512 << 20;

impl Plan {
    pub(crate) fn read(context: &BuildContext<'_>) -> Result<Self> {
        let options: Options = context.options()?;
        let (addresses, mut login) = servers(context, options.topology)?;
        log_in(context, &options, &mut login)?;
        let topology = topology(context, options.topology, addresses.len())?;
        let wrong = |setting: &str, what: &str| Err(context.error(setting, what));
        if topology == TopologyKind::Cluster && login.database != 0 {
            return wrong(
                "location",
                "a Cluster has only database 0; remove the number at the end of the URL",
            );
        }
        if topology == TopologyKind::Cluster
            && addresses.iter().any(|it| matches!(it, Address::Unix(_)))
        {
            return wrong(
                "location",
                "the servers of a Cluster are addressed by host and port, not by unix sockets",
            );
        }
        if options.read_from == ReadFrom::Replica && topology == TopologyKind::Single {
            return wrong(
                "options.read_from",
                "a single server has no replicas; set topology to replicas, sentinel or cluster",
            );
        }
        let connections = options.connections.unwrap_or(CONNECTIONS);
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            return wrong("options.connections", &format!("expected 1 to {MAX_CONNECTIONS}"));
        }
        if options.resp.is_some_and(|it| !(2..=3).contains(&it)) {
            return wrong(
                "options.resp",
                "expected 2 or 3; if it is unset, the store uses 3 if the server supports it",
            );
        }
        if options.client_name.as_ref().is_some_and(|it| !is_name(it)) {
            return wrong(
                "options.client_name",
                "expected letters, digits and punctuation without spaces",
            );
        }
        if options.tls.is_some() && !login.tls {
            return wrong("options.tls", "requires rediss://, but the location is redis://");
        }
        let max = options.max_value_bytes.map_or(MAX_VALUE_LEN, ByteSize::bytes);
        if !(1..=MAX_VALUE_LEN).contains(&max) {
            return wrong("options.max_value_bytes", "expected 1 to 512 MiB, the maximum of Redis");
        }
        Ok(Self {
            topology,
            sentinel: sentinel(context, topology, &options, &login)?,
            addresses,
            login,
            read_from: options.read_from,
            connections,
            resp: options.resp,
            client_name: options.client_name,
            max_value_len: usize::try_from(max).unwrap_or(usize::MAX),
            tls: options.tls,
            deadline: context.deadline(),
            connect_deadline: context.connect_deadline(),
        })
    }
}

fn servers(
    context: &BuildContext<'_>,
    topology: Option<TopologyKind>,
) -> Result<(Vec<Address>, Login)> {
    let default_port = if topology == Some(TopologyKind::Sentinel) { 26_379 } else { 6379 };
    let mut addresses = Vec::new();
    let mut login: Option<Login> = None;
    for (i, place) in context.locations().iter().enumerate() {
        let at = if context.locations().len() == 1 {
            String::new()
        } else {
            format!("entry {} ", i + 1)
        };
        let parsed = address::parse(place, default_port);
        let (address, its_login) =
            parsed.map_err(|it| context.error("location", at.clone() + &it))?;
        if login.as_ref().is_some_and(|it| *it != its_login) {
            let what = "has a different user, password, database or scheme than the entries before; all servers must have the same";
            return Err(context.error("location", at + what));
        }
        if addresses.contains(&address) {
            return Err(context.error("location", at + "duplicate server"));
        }
        login = Some(its_login);
        addresses.push(address);
    }
    let login = login.ok_or_else(|| {
        context.error(
            "location",
            "is missing; expected a URL such as redis://127.0.0.1:6379, or a list of them",
        )
    })?;
    Ok((addresses, login))
}

/// Takes user and password from the options, where no character has a special meaning.
fn log_in(context: &BuildContext<'_>, options: &Options, login: &mut Login) -> Result<()> {
    for (name, option, in_url) in [
        ("username", &options.username, &mut login.user),
        ("password", &options.password, &mut login.password),
    ] {
        let Some(option) = option else { continue };
        let what = match (option.as_str(), &in_url) {
            ("", _) => "is empty; remove it, or give it a value",
            (_, Some(_)) => "is also in the URL of location; remove one of them",
            _ => {
                *in_url = Some(option.clone());
                continue;
            }
        };
        return Err(context.error(&format!("options.{name}"), what));
    }
    Ok(())
}

fn topology(
    context: &BuildContext<'_>,
    topology: Option<TopologyKind>,
    servers: usize,
) -> Result<TopologyKind> {
    match (topology, servers) {
        (None | Some(TopologyKind::Single), 1) => Ok(TopologyKind::Single),
        (None, _) => Err(context.error(
            "options.topology",
            "is missing; several servers are \"replicas\" (the leader first), \"sentinel\" (the Sentinels) or \"cluster\" (some of its nodes)",
        )),
        (Some(TopologyKind::Single), _) => {
            Err(context.error("location", "lists several servers, but options.topology is \"single\""))
        }
        (Some(TopologyKind::Replicas), 1) => Err(context.error(
            "location",
            "lists one server; options.topology = \"replicas\" expects the leader and then its replicas",
        )),
        (Some(it), _) => Ok(it),
    }
}

fn sentinel(
    context: &BuildContext<'_>,
    topology: TopologyKind,
    options: &Options,
    login: &Login,
) -> Result<Option<Sentinel>> {
    if topology == TopologyKind::Sentinel {
        let name = options.service_name.clone().filter(|it| !it.is_empty()).ok_or_else(|| {
            context.error(
                "options.service_name",
                "is missing; expected the name of the leader in the configuration of the Sentinels, often \"mymaster\"",
            )
        })?;
        if options.sentinel_username.is_some() && options.sentinel_password.is_none() {
            return Err(context.error(
                "options.sentinel_password",
                "is missing; options.sentinel_username needs it",
            ));
        }
        let login = Login {
            user: options.sentinel_username.clone(),
            password: options.sentinel_password.clone(),
            database: 0,
            tls: login.tls,
        };
        return Ok(Some(Sentinel { service_name: name, login }));
    }
    for (name, is_set) in [
        ("service_name", options.service_name.is_some()),
        ("sentinel_username", options.sentinel_username.is_some()),
        ("sentinel_password", options.sentinel_password.is_some()),
    ] {
        if is_set {
            return Err(context.error(
                &format!("options.{name}"),
                "is for options.topology = \"sentinel\"; remove it, or set the topology",
            ));
        }
    }
    Ok(None)
}

/// Whether `CLIENT SETNAME` accepts the name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic())
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("topology", &self.topology)
            .field("servers", &self.addresses.len())
            .field("read_from", &self.read_from)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
