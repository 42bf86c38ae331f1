//! Makes faults happen.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use test_servers::{RedisCluster, Server, wait_until};

use crate::{
    clock,
    fault::{Fault, Planned},
    history::FaultRecord,
    stage::Stage,
};

/// How much a delayed reply is late: less than the deadline of a call.
const DELAY: Duration = Duration::from_millis(80);
const LIMIT: Duration = Duration::from_secs(10);
/// The time after which a node counts as failed, as [`RedisCluster::patient`] sets it.
const NODE_TIMEOUT: &str = "60000";

/// Makes a fault happen, waits for its end, and records it.
pub(crate) fn make(stage: &mut Stage<'_>, planned: Planned) -> Result<FaultRecord> {
    let fault = planned.fault;
    // A Cluster has no proxies: its nodes cut the connections of all.
    let is_of_a_worker =
        fault.is_of_a_worker() && !(fault == Fault::Cut && stage.store.cluster().is_some());
    let process = is_of_a_worker.then(|| stage.workers[planned.worker].process);
    let start = clock::now();
    let lasts = Duration::from_millis(planned.lasts);
    let is_of_servers =
        matches!(fault, Fault::Freeze | Fault::Restart | Fault::HandOver | Fault::Cut);
    if is_of_servers && let Some(cluster) = stage.store.cluster() {
        of_cluster(cluster, planned, lasts)?;
        return Ok(FaultRecord { fault, process, start, end: clock::now() });
    }
    match fault {
        Fault::Kill => stage.replace(planned.worker)?,
        Fault::Stop => {
            let id = stage.workers[planned.worker].child.id();
            let id = Pid::from_raw(i32::try_from(id)?).context("a process has a number")?;
            kill_process(id, Signal::STOP)?;
            pass(lasts);
            kill_process(id, Signal::CONT)?;
        }
        Fault::Restart if stage.store.server().is_none() => {
            for worker in 0..stage.workers.len() {
                stage.replace(worker)?;
            }
        }
        Fault::FailOver => {
            stage.store.group().context("a group of servers")?.fail_over()?;
        }
        Fault::Freeze | Fault::Restart => {
            let server = stage.store.server().context("a server")?;
            of_server(server, fault, lasts)?;
        }
        _ => of_network(stage, planned, lasts)?,
    }
    Ok(FaultRecord { fault, process, start, end: clock::now() })
}

fn of_server(server: &dyn Server, fault: Fault, lasts: Duration) -> Result<()> {
    if fault == Fault::Restart {
        server.kill();
        pass(lasts / 4);
        return server.restart();
    }
    server.freeze();
    pass(lasts);
    server.thaw();
    Ok(())
}

/// Concerns the master of one of the slots, and ends when all slots are served again.
fn of_cluster(cluster: &RedisCluster, planned: Planned, lasts: Duration) -> Result<()> {
    let slot = usize::try_from(planned.lasts)? * 13;
    match planned.fault {
        Fault::Cut => {
            for node in cluster.nodes() {
                node.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
                node.command(&["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"])?;
            }
        }
        Fault::HandOver => hand_over(cluster, slot)?,
        fault => of_server(cluster.master_of(slot)?, fault, lasts)?,
    }
    // A node that was started again has the timeout of its command line.
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-node-timeout", NODE_TIMEOUT])?;
    }
    cluster.wait_until_served()
}

/// Makes a replica the master of a slot. Its master stops writes until the replica has them all.
fn hand_over(cluster: &RedisCluster, slot: usize) -> Result<()> {
    let master = cluster.master_of(slot)?;
    let port = master.port().to_string();
    let replica = cluster.nodes().iter().find(|it| {
        let role = it.command(&["ROLE"]);
        // The role, and the host and port of the master.
        role.is_ok_and(|it| match it.list() {
            [role, _, of, ..] => role.text() == "slave" && of.text() == port,
            _ => false,
        })
    });
    // After an outage, the replica may still be on its way, and the servers may refuse or give up:
    // then this fault does nothing.
    let Some(replica) = replica else { return Ok(()) };
    if replica.command(&["CLUSTER", "FAILOVER"]).is_ok() {
        let leads = || {
            let role = replica.command(&["ROLE"]);
            role.is_ok_and(|it| it.list().first().is_some_and(|it| it.text() == "master"))
        };
        let _ = wait_until("the replica is promoted", LIMIT, leads);
    }
    Ok(())
}

fn of_network(stage: &Stage<'_>, planned: Planned, lasts: Duration) -> Result<()> {
    let proxy = stage.workers[planned.worker].proxy.as_ref().context("a proxy")?;
    match planned.fault {
        Fault::HalfOpen => {
            proxy.swallow_open();
            pass(lasts);
        }
        Fault::Refuse => {
            proxy.refuse();
            proxy.cut();
            pass(lasts);
        }
        Fault::Delay => {
            proxy.delay(DELAY);
            pass(lasts);
        }
        Fault::Hold => {
            proxy.hold_open();
            pass(lasts);
            proxy.release();
            // A connection that was given up may never get a reply.
            let _ = wait_until("the held bytes are delivered", LIMIT / 20, || proxy.held() == 0);
        }
        Fault::Truncate => {
            proxy.truncate_after(usize::try_from(planned.lasts % 100)?);
            pass(lasts / 4);
        }
        _ => proxy.cut(),
    }
    proxy.pass();
    Ok(())
}

fn pass(time: Duration) {
    // sleeps: the workers call while the fault lasts
    thread::sleep(time);
}
