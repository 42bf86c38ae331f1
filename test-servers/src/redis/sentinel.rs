//! Redis: a leader with replicas, and Sentinels that promote one of them when the leader is gone.

use std::{
    ffi::OsString, fmt::Write as _, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration,
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

/// The name under which the Sentinels know the leader.
const NAME: &str = "mymaster";
const CONFIG: &str = "sentinel.conf";
/// How often a Sentinel tells the others what it knows, in milliseconds. One that sees a leader of which nobody has told it
/// makes that a replica again after four times as long.
const HASTE: &str = "100";
/// So long that this takes longer than noticing a promotion, which is looked for once a second.
const PATIENCE: &str = "500";
/// How long one must not have answered to be called dead where nobody dies, in milliseconds.
const PATIENT_TIMEOUT: &str = "60000";
/// The Sentinels tell each other of themselves every two seconds, and look at the replicas every ten.
const LIMIT: Duration = Duration::from_secs(60);

/// A leader, its replicas, and the Sentinels that watch them. They call a leader dead that has not answered for half
/// a second.
#[derive(Debug)]
pub struct Sentinels {
    watchers: Vec<Sentinel>,
    nodes: Vec<Redis>,
    lag: Lag,
}

impl Sentinels {
    /// A leader with this many replicas, and Sentinels that all know each other and the replicas.
    pub fn start(replicas: usize, sentinels: usize) -> Result<Self> {
        Self::start_with(replicas, sentinels, &Redis::options())
    }

    /// The same with options, which are for the leader and its replicas; the Sentinels ask for no password.
    pub fn start_with(replicas: usize, sentinels: usize, options: &RedisOptions) -> Result<Self> {
        let nodes = RedisReplicas::start_with(replicas, options)?.into_nodes();
        let watch = Arc::new(Watch {
            leader: nodes[0].port(),
            quorum: sentinels / 2 + 1,
            password: options.password.clone(),
        });
        let start = |_| Ok(Sentinel { process: Process::start(watch.clone())? });
        let watchers = (0..sentinels).map(start).collect::<Result<Vec<_>>>()?;
        let res = Self { watchers, nodes, lag: Lag::default() };
        res.hurry(HASTE);
        wait::wait_until("the Sentinels know each other and the replicas", LIMIT, || {
            res.watchers.iter().all(|it| it.knows(sentinels, replicas).unwrap_or(false))
        })?;
        Ok(res)
    }

    /// Has a leader that is only slow, as on a busy machine, taken for nothing else: no replica takes its place, which would lose what
    /// was written last. For tests that let no leader die.
    pub fn patient(self) -> Result<Self> {
        let set = ["SENTINEL", "SET", NAME, "down-after-milliseconds", PATIENT_TIMEOUT];
        for it in &self.watchers {
            Connection::open(it.address())?.command(&set)?;
        }
        // One that was slow until now may be called dead already, and another be on its way to its place.
        wait::wait_until("the Sentinels miss no leader", LIMIT, || {
            let leaders = self.watchers.iter().map(|it| it.leader_if_well().ok().flatten());
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

    /// What the Sentinels call the leader.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The Sentinels, for which one asks for the leader.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.watchers
    }

    /// The leader and its replicas, whichever of them is which by now.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The one that is the leader, as the first Sentinel that answers sees it.
    pub fn leader(&self) -> Result<&Redis> {
        let mut asked = self.watchers.iter().map(Sentinel::leader);
        let address = asked.find_map(Result::ok).context("no Sentinel answers")?;
        by_port(&self.nodes, address.port())
    }

    /// Has them promote a replica as an operator would, and waits until all is settled: the old leader, which has
    /// never stopped, is a replica of the one that is returned.
    pub fn fail_over(&self) -> Result<&Redis> {
        let old = self.leader()?;
        self.hurry(PATIENCE);
        wait::poll("a Sentinel can fail over", LIMIT, || {
            let mut running = self.watchers.iter().filter(|it| it.is_running());
            let asked = running.next().context("no Sentinel runs")?;
            let done = Connection::open(asked.address())?.command(&["SENTINEL", "FAILOVER", NAME]);
            match done.map_err(|err| format!("{err:#}")) {
                Ok(_) => Ok(Some(())),
                // Another one is not settled yet, or it has not heard lately of the replicas.
                Err(err) if err.contains("INPROG") || err.contains("NOGOODSLAVE") => Ok(None),
                Err(err) => Err(anyhow!(err)),
            }
        })?;
        let new = self.wait_for_other_leader(old)?;
        self.hurry(HASTE);
        for it in self.nodes.iter().filter(|it| it.is_running() && it.port() != new.port()) {
            wait_for_link_to(it, new)?;
        }
        Ok(new)
    }

    /// Waits until each replica that runs has what its leader has had so far. It is cheap enough for each write of a test.
    pub fn wait_for_replicas(&self) -> Result<()> {
        self.lag.wait(&self.nodes.iter().collect::<Vec<_>>())
    }

    /// Waits until all Sentinels that run agree on a leader other than this one, and it takes writes.
    pub fn wait_for_other_leader(&self, old: &Redis) -> Result<&Redis> {
        wait::poll("the Sentinels have promoted a replica", LIMIT, || {
            let running = self.watchers.iter().filter(|it| it.is_running());
            let ports = running.map(|it| it.leader().map(|it| it.port()));
            let Ok(ports) = ports.collect::<Result<Vec<u16>>>() else { return Ok(None) };
            let agreed = ports.first().filter(|it| ports.iter().all(|other| other == *it));
            let Some(&port) = agreed.filter(|it| **it != old.port()) else { return Ok(None) };
            let leader = by_port(&self.nodes, port)?;
            let role = leader.command(&["ROLE"]);
            let leads =
                role.is_ok_and(|it| it.list().first().is_some_and(|it| it.text() == "master"));
            Ok(leads.then_some(leader))
        })
    }

    fn hurry(&self, publish: &str) {
        for it in self.watchers.iter().filter(|it| it.is_running()) {
            it.hurry(publish);
        }
    }
}

/// One Sentinel.
#[derive(Debug)]
pub struct Sentinel {
    process: Process,
}

impl Sentinel {
    /// `redis://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Where the leader is, as it sees it.
    pub fn leader(&self) -> Result<SocketAddr> {
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
        let reply = Connection::open(self.address())?.command(&command)?;
        let [host, port] = reply.list() else { anyhow::bail!("the Sentinel knows no {NAME}") };
        Ok(SocketAddr::new(host.text().parse()?, port.text().parse()?))
    }

    /// The same, if it has nothing to say against it and puts none in its place.
    fn leader_if_well(&self) -> Result<Option<SocketAddr>> {
        let about = Connection::open(self.address())?.command(&["SENTINEL", "MASTER", NAME])?;
        let mut words = about.list().iter().map(Reply::text).skip_while(|it| it != "flags");
        if words.nth(1).as_deref() == Some("master") { self.leader().map(Some) } else { Ok(None) }
    }

    /// Lets it look around more often where it can be told to, which older ones cannot: they are only slower.
    fn hurry(&self, publish: &str) {
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

/// What a Sentinel is told to watch.
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

    /// In a file, which a Sentinel needs, because it keeps there what it learns.
    fn prepare(&self, folder: &Path) -> Result<()> {
        let Self { leader, quorum, password } = self;
        let mut config = format!(
            "bind 127.0.0.1\n\
             dir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {leader} {quorum}\n\
             sentinel down-after-milliseconds {NAME} 500\n\
             sentinel failover-timeout {NAME} 5000\n",
            folder.display()
        );
        if let Some(password) = password {
            writeln!(config, "sentinel auth-pass {NAME} {password}")?;
        }
        fs::write(folder.join(CONFIG), config).context("cannot write the Sentinel's settings")
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let mut res = program()?;
        res.push(place.folder.join(CONFIG).into());
        let port = place.port.to_string();
        res.extend(["--sentinel", "--port", &port].map(OsString::from));
        Ok(res)
    }

    fn answers(&self, place: &Place, pid: u32) -> Result<bool> {
        is_process(&mut Connection::open(port::address(place.port))?, pid)
    }
}
