//! Makes faults happen.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use test_servers::{Server, wait_until};

use crate::{
    clock,
    fault::{Fault, Planned},
    history::FaultRecord,
    stage::Stage,
};

/// How much a delayed reply is late: less than the deadline of a call.
const DELAY: Duration = Duration::from_millis(80);
const LIMIT: Duration = Duration::from_secs(10);

/// Makes a fault happen, waits for its end, and records it.
pub(crate) fn make(stage: &mut Stage<'_>, planned: Planned) -> Result<FaultRecord> {
    let fault = planned.fault;
    let process = fault.is_of_a_worker().then(|| stage.workers[planned.worker].process);
    let start = clock::now();
    let lasts = Duration::from_millis(planned.lasts);
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
