//! `cargo xtask servers`: servers for manual tests.

use std::{
    any::Any,
    fmt::Write as _,
    io::{self, Write as _},
};

use anyhow::{Result, bail};

use crate::{
    Memcached, Package, Postgres, Redis, RedisCluster, RedisReplicas, Sentinel, Sentinels,
    install::ensure,
};

/// The usage text.
pub const USAGE: &str = "\
Usage: cargo xtask servers [--env] [redis | memcached | postgres | replicas | sentinel | cluster]…
       cargo xtask servers --install

Starts the named servers (without names: redis, memcached and postgres), prints their URLs, one per line or as
NAME=value with --env, and stops them on Ctrl-C or at the end of the input. --install only installs missing programs.";

/// Runs the command. Returns after the servers were stopped.
///
/// # Errors
/// If an argument is unknown, or a server cannot be installed or started.
pub fn run(args: &[&str]) -> Result<()> {
    let arguments = Arguments::parse(args)?;
    if arguments.install {
        let installed = ensure(Package::ALL)?;
        crate::redis::valkey()?;
        let what: Vec<String> = installed.iter().map(ToString::to_string).collect();
        println!(
            "installed: {}",
            if what.is_empty() { "nothing; all programs exist".into() } else { what.join(", ") }
        );
        return Ok(());
    }
    let started = arguments.servers.iter().map(|it| it.start()).collect::<Result<Vec<_>>>()?;
    let text: String = started.iter().map(|it| it.text(arguments.env)).collect();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    // Ctrl-C ends this process, and the servers end with it.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    // Explains the missing servers to a user who started the command in the background without
    // input.
    eprintln!("end of input: the servers were stopped");
    Ok(())
}

/// The parsed arguments.
#[derive(Debug, PartialEq)]
struct Arguments {
    install: bool,
    env: bool,
    servers: Vec<Family>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    Redis,
    Memcached,
    Postgres,
    Replicas,
    Sentinel,
    Cluster,
}

impl Arguments {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut res = Self { install: false, env: false, servers: Vec::new() };
        for it in args {
            res.servers.push(match *it {
                "--install" => {
                    res.install = true;
                    continue;
                }
                "--env" => {
                    res.env = true;
                    continue;
                }
                "redis" => Family::Redis,
                "memcached" => Family::Memcached,
                "postgres" => Family::Postgres,
                "replicas" => Family::Replicas,
                "sentinel" => Family::Sentinel,
                "cluster" => Family::Cluster,
                "help" | "--help" | "-h" => bail!("{USAGE}"),
                _ => bail!("unknown server `{it}`\n\n{USAGE}"),
            });
        }
        if res.install && args.len() > 1 {
            bail!("--install takes no other arguments\n\n{USAGE}");
        }
        if res.servers.is_empty() {
            res.servers = vec![Family::Redis, Family::Memcached, Family::Postgres];
        }
        Ok(res)
    }
}

/// Running servers and their URLs. They end when this is dropped.
struct Started {
    variables: Vec<(&'static str, Vec<String>)>,
    _servers: Box<dyn Any>,
}

impl Started {
    fn new(name: &'static str, urls: Vec<String>, servers: impl Any) -> Self {
        Self { variables: vec![(name, urls)], _servers: Box::new(servers) }
    }

    fn text(&self, env: bool) -> String {
        let mut res = String::new();
        for (name, urls) in &self.variables {
            // Writing to a string cannot fail.
            let _ = if env {
                writeln!(res, "{name}={}", urls.join(","))
            } else {
                writeln!(res, "{}", urls.join("\n"))
            };
        }
        res
    }
}

impl Family {
    fn start(self) -> Result<Started> {
        Ok(match self {
            Self::Redis => {
                let it = Redis::start()?;
                Started::new("REDIS_URL", vec![it.url()], it)
            }
            Self::Memcached => {
                let it = Memcached::start()?;
                Started::new("MEMCACHED_URL", vec![it.url()], it)
            }
            Self::Postgres => {
                let it = Postgres::start()?;
                Started::new("POSTGRES_URL", vec![it.url()], it)
            }
            Self::Replicas => {
                let it = RedisReplicas::start(2)?;
                let replicas = it.replicas().iter().map(Redis::url).collect();
                let mut res = Started::new("REDIS_LEADER_URL", vec![it.leader().url()], it);
                res.variables.push(("REDIS_REPLICA_URLS", replicas));
                res
            }
            Self::Sentinel => {
                let it = Sentinels::start(2, 3)?;
                let urls = it.sentinels().iter().map(Sentinel::url).collect();
                let name = it.name().to_owned();
                let mut res = Started::new("REDIS_SENTINEL_URLS", urls, it);
                res.variables.push(("REDIS_SENTINEL_NAME", vec![name]));
                res
            }
            Self::Cluster => {
                let it = RedisCluster::start(3, 3)?;
                Started::new("REDIS_CLUSTER_URLS", it.urls(), it)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn default_servers_are_started_without_names() {
        let default = vec![Family::Redis, Family::Memcached, Family::Postgres];
        assert_eq!(
            parse("").unwrap(),
            Arguments { install: false, env: false, servers: default.clone() }
        );
        assert_eq!(
            parse("--env").unwrap(),
            Arguments { install: false, env: true, servers: default }
        );
        assert_eq!(parse("cluster redis").unwrap().servers, [Family::Cluster, Family::Redis]);
    }

    #[test]
    fn unknown_server_is_named() {
        let err = parse("redis rabbit").unwrap_err().to_string();
        assert!(err.starts_with("unknown server `rabbit`\n\nUsage:"), "{err}");
        assert!(parse("--install redis").is_err());
    }
}
