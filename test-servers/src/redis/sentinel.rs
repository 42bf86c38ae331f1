//! A Redis leader with replicas, and Sentinels that promote a replica when the leader fails.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::{
    Redis, RedisOptions, RedisReplicas, by_port, is_process, lag::Lag, program,
    replicas::wait_for_link_to,
};
use crate::{
    port,
    process::{Kind, Place, Process, Server},
    resp::{Connection, Reply, field},
    wait,
};

/// The Sentinels' name of the leader.
const NAME: &str = "mymaster";
const CONFIG: &str = "sentinel.conf";
/// The period in milliseconds in which a Sentinel publishes its view. If a Sentinel sees a leader
/// that no other Sentinel has announced, it demotes this leader after four periods.
const FAST_PUBLISH: &str = "100";
/// Four of these periods are longer than the detection of a promotion, which takes up to a second.
const SLOW_PUBLISH: &str = "500";
/// The time without a reply after which a leader counts as failed, in milliseconds; and for tests
/// without failures.
const TIMEOUT: &str = "500";
const PATIENT_TIMEOUT: &str = "60000";
/// A failover that takes longer has failed: each of its steps may take five seconds.
const FAILOVER_LIMIT: Duration = Duration::from_secs(30);
/// Sentinels announce themselves every two seconds and query the replicas every ten.
const LIMIT: Duration = Duration::from_secs(120);

/// A leader, its replicas, and the Sentinels that monitor them. A leader counts as failed after
/// half a second without a reply.
#[derive(Debug)]
pub struct Sentinels {
    monitors: Vec<Sentinel>,
    nodes: Vec<Redis>,
    is_patient: bool,
    lag: Lag,
}

impl Sentinels {
    /// Starts a leader with this many replicas, and Sentinels. All Sentinels know each other and
    /// the replicas.
    ///
    /// # Errors
    /// If a server does not start or the Sentinels do not find each other in time.
    pub fn start(replicas: usize, sentinels: usize) -> Result<Self> {
        Self::start_with(replicas, sentinels, &Redis::options())
    }

    /// Like [`start`](Self::start), with options for the leader and its replicas. The Sentinels
    /// require no password.
    ///
    /// # Errors
    /// If a server does not start or the Sentinels do not find each other in time.
    pub fn start_with(replicas: usize, sentinels: usize, options: &RedisOptions) -> Result<Self> {
        let nodes = RedisReplicas::start_with(replicas, options)?.into_nodes();
        let watch = Arc::new(Watch {
            leader: nodes[0].port(),
            quorum: sentinels / 2 + 1,
            password: options.password.clone(),
        });
        let start = |_| Ok(Sentinel { process: Process::start(watch.clone())? });
        let started = (0..sentinels).map(start).collect::<Result<Vec<_>>>()?;
        let res = Self { monitors: started, nodes, is_patient: false, lag: Lag::default() };
        res.set_publish_period(FAST_PUBLISH);
        wait::wait_until("the Sentinels know each other and the replicas", LIMIT, || {
            res.monitors.iter().all(|it| it.knows(sentinels, replicas).unwrap_or(false))
        })?;
        Ok(res)
    }

    /// Raises the failure timeout, so that a slow leader of a busy machine does not count as
    /// failed: a promotion would lose the last writes. A leader that is killed or frozen counts as
    /// failed only in [`wait_for_other_leader`](Self::wait_for_other_leader).
    ///
    /// # Errors
    /// If a Sentinel cannot be configured or the Sentinels do not agree in time.
    pub fn patient(mut self) -> Result<Self> {
        self.is_patient = true;
        self.set_timeout(PATIENT_TIMEOUT)?;
        // A leader that was slow before may count as failed already, and a failover may be in
        // progress.
        wait::wait_until("the Sentinels agree on a healthy leader", LIMIT, || {
            let leaders = self.monitors.iter().map(|it| it.leader_if_well().ok().flatten());
            let Some(leaders) = leaders.collect::<Option<Vec<_>>>() else { return false };
            let leads = |it: &Redis| {
                let role = it.command(&["ROLE"]);
                role.is_ok_and(|it| it.list().first().is_some_and(|it| it.text() == "master"))
            };
            leaders.iter().all(|it| *it == leaders[0])
                && by_port(&self.nodes, leaders[0].port()).is_ok_and(leads)
        })?;
        Ok(self)
    }

    /// Returns the Sentinels' name of the leader.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Returns the Sentinels.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.monitors
    }

    /// Returns the leader and the replicas. The roles may have changed since the start.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Returns the leader according to the first Sentinel that replies.
    ///
    /// # Errors
    /// If no Sentinel replies.
    pub fn leader(&self) -> Result<&Redis> {
        let mut asked = self.active().map(Sentinel::leader);
        let address = asked.find_map(Result::ok).context("no Sentinel replies")?;
        by_port(&self.nodes, address.port())
    }

    /// Starts a manual failover and waits until it is complete: the old leader, which keeps
    /// running, is a replica of the returned leader.
    ///
    /// # Errors
    /// If the Sentinels refuse, or the failover takes too long.
    pub fn fail_over(&self) -> Result<&Redis> {
        let old = self.leader()?;
        self.set_publish_period(SLOW_PUBLISH);
        let mut begun: Option<Instant> = None;
        let new = wait::poll("a Sentinel has failed over", LIMIT, || {
            // A Sentinel gives a failover up if a server is slow.
            if begun.is_none_or(|it| it.elapsed() > FAILOVER_LIMIT) && self.begin_failover()? {
                begun = Some(Instant::now());
            }
            self.other_leader(old)
        })?;
        self.set_publish_period(FAST_PUBLISH);
        for it in self.nodes.iter().filter(|it| it.is_running() && it.port() != new.port()) {
            wait_for_link_to(it, new)?;
        }
        Ok(new)
    }

    /// Returns `false` if another failover is in progress, or the Sentinel's view of the replicas
    /// is outdated.
    fn begin_failover(&self) -> Result<bool> {
        let asked = self.active().next().context("no Sentinel runs")?;
        let done = Connection::open(asked.address())?.command(&["SENTINEL", "FAILOVER", NAME]);
        match done.map_err(|err| format!("{err:#}")) {
            Ok(_) => Ok(true),
            Err(err) if err.contains("INPROG") || err.contains("NOGOODSLAVE") => Ok(false),
            Err(err) => Err(anyhow!(err)),
        }
    }

    /// Waits until each running replica has all writes that its leader has received so far. Cheap
    /// enough to be called after each write of a test.
    ///
    /// # Errors
    /// If a replica does not catch up in time.
    pub fn wait_for_replicas(&self) -> Result<()> {
        self.lag.wait(&self.nodes.iter().collect::<Vec<_>>())
    }

    /// Waits until all active Sentinels agree on another leader than this one, and it accepts
    /// writes.
    ///
    /// # Errors
    /// If this takes too long.
    pub fn wait_for_other_leader(&self, old: &Redis) -> Result<&Redis> {
        let is_lost = self.is_patient && !old.process().is_active();
        if is_lost {
            self.set_timeout(TIMEOUT)?;
        }
        let what = "the Sentinels have promoted a replica";
        let new = wait::poll(what, LIMIT, || self.other_leader(old))?;
        if is_lost {
            self.set_timeout(PATIENT_TIMEOUT)?;
        }
        Ok(new)
    }

    /// Returns another leader than this one, if all active Sentinels agree on it and it accepts
    /// writes.
    fn other_leader(&self, old: &Redis) -> Result<Option<&Redis>> {
        let ports = self.active().map(|it| it.leader().map(|it| it.port()));
        let Ok(ports) = ports.collect::<Result<Vec<u16>>>() else { return Ok(None) };
        let agreed = ports.first().filter(|it| ports.iter().all(|other| other == *it));
        let Some(&port) = agreed.filter(|it| **it != old.port()) else { return Ok(None) };
        let leader = by_port(&self.nodes, port)?;
        let role = leader.command(&["ROLE"]);
        let leads = role.is_ok_and(|it| it.list().first().is_some_and(|it| it.text() == "master"));
        Ok(leads.then_some(leader))
    }

    /// Returns the Sentinels that run and are not frozen.
    fn active(&self) -> impl Iterator<Item = &Sentinel> {
        self.monitors.iter().filter(|it| it.process.is_active())
    }

    fn set_timeout(&self, timeout: &str) -> Result<()> {
        let set = ["SENTINEL", "SET", NAME, "down-after-milliseconds", timeout];
        for it in self.active() {
            Connection::open(it.address())?.command(&set)?;
        }
        Ok(())
    }

    fn set_publish_period(&self, publish: &str) {
        self.active().for_each(|it| it.set_publish_period(publish));
    }
}

/// One Sentinel.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
}

impl Sentinel {
    /// Returns the URL, `redis://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Returns the address of the leader according to this Sentinel.
    ///
    /// # Errors
    /// If the Sentinel does not reply or does not know the leader.
    pub fn leader(&self) -> Result<SocketAddr> {
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
        let reply = Connection::open(self.address())?.command(&command)?;
        let [host, port] = reply.list() else { anyhow::bail!("the Sentinel does not know {NAME}") };
        Ok(SocketAddr::new(host.text().parse()?, port.text().parse()?))
    }

    /// Returns the leader if this Sentinel considers it healthy and no failover is in progress.
    fn leader_if_well(&self) -> Result<Option<SocketAddr>> {
        let about = Connection::open(self.address())?.command(&["SENTINEL", "MASTER", NAME])?;
        let mut words = about.list().iter().map(Reply::text).skip_while(|it| it != "flags");
        if words.nth(1).as_deref() == Some("master") { self.leader().map(Some) } else { Ok(None) }
    }

    /// Sets shorter periods. Old versions do not support this; they only take longer.
    fn set_publish_period(&self, publish: &str) {
        let periods = ["PUBLISH-PERIOD", publish, "INFO-PERIOD", "500", "ASK-PERIOD", "200"];
        let _ = Connection::open(self.address())
            .and_then(|mut it| it.command(&[&["SENTINEL", "DEBUG"], &periods[..]].concat()));
    }

    fn knows(&self, sentinels: usize, replicas: usize) -> Result<bool> {
        let info = Connection::open(self.address())?.command(&["INFO", "sentinel"])?.text();
        // `name=mymaster,status=ok,address=127.0.0.1:1,slaves=2,sentinels=3`
        let about = field(&info, "master0").unwrap_or_default();
        let number =
            |name: &str| about.split(',').find_map(|it| it.strip_prefix(name)?.parse().ok());
        Ok(number("slaves=") == Some(replicas) && number("sentinels=") == Some(sentinels))
    }
}

impl Server for Sentinel {
    fn process(&self) -> &Process {
        &self.process
    }
}

/// The configuration of a Sentinel.
#[derive(Debug)]
struct Watch {
    leader: u16,
    quorum: usize,
    password: Option<String>,
}

impl Kind for Watch {
    fn name(&self) -> &'static str {
        "sentinel"
    }

    /// Writes the configuration file. A Sentinel requires one, because it stores its state there.
    fn prepare(&self, folder: &Path) -> Result<()> {
        let Self { leader, quorum, password } = self;
        let mut config = format!(
            "bind 127.0.0.1\n\
             dir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {leader} {quorum}\n\
             sentinel down-after-milliseconds {NAME} {TIMEOUT}\n\
             sentinel failover-timeout {NAME} 5000\n",
            folder.display()
        );
        if let Some(password) = password {
            writeln!(config, "sentinel auth-pass {NAME} {password}")?;
        }
        fs::write(folder.join(CONFIG), config).context("cannot write the Sentinel's configuration")
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let mut res = program()?;
        res.push(place.folder.join(CONFIG).into());
        let port = place.port.to_string();
        res.extend(["--sentinel", "--port", &port].map(OsString::from));
        Ok(res)
    }

    fn replies(&self, place: &Place, pid: u32) -> Result<bool> {
        is_process(&mut Connection::open(port::address(place.port))?, pid)
    }
}
