//! Replicas with memory in front of the store: for how long does each still serve a revoked role?

use std::{fs, io::Write, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{process::Process, server::Server};

/// Each alias, how its replicas hear of the delete, and for how long they may serve the role: at
/// most `near.timeout` without a message, and the second of a heartbeat and the deadline with one.
const ALIASES: [(&str, &str, Duration); 2] = [
    ("default", "tracking", Duration::from_secs(4)),
    ("silent", "none, timeout = 2s", Duration::from_secs(2)),
];
const KEY: &str = "roles:1";

/// Revokes a role that three processes have near, on each alias.
///
/// # Errors
/// If a process served the role for longer than it may.
pub(crate) fn run(folder: &Path, settings: &Path, out: &mut dyn Write) -> Result<()> {
    let server = Server::start(folder)?;
    let source = folder.join("source");
    let start = |name| Process::start(name, settings, &source, Some(&server.url()));
    let mut processes = [start("A")?, start("B")?, start("C")?];
    writeln!(out, "Three processes have a role in memory, and process A revokes it.")?;
    writeln!(out, "For how long each still serves it after the delete:\n")?;
    writeln!(
        out,
        "{:<22}{:>12}{:>12}{:>12}",
        "invalidation", "process A", "process B", "process C"
    )?;
    for (alias, name, bound) in ALIASES {
        fs::write(&source, "admin")?;
        let served = revoke(&mut processes, alias)?;
        let cells = served.map(|it| format!("{:>9.1} ms", it.as_secs_f64() * 1000.0));
        writeln!(out, "{name:<22}{}", cells.concat())?;
        let [own, others @ ..] = served;
        ensure!(own.is_zero(), "process A served a role after it had revoked it");
        ensure!(others.iter().all(|it| *it <= bound), "the bound is {bound:?}");
    }
    Ok(())
}

/// Returns for how long each process served the role after the first one had deleted it.
fn revoke(processes: &mut [Process; 3], alias: &str) -> Result<[Duration; 3]> {
    for process in &mut *processes {
        process.ask(&format!("watch {alias} {KEY}"))?;
    }
    let deleted = time(&processes[0].ask(&format!("delete {alias} {KEY}"))?)?;
    let mut served = [Duration::ZERO; 3];
    for (process, served) in processes.iter_mut().zip(&mut served) {
        *served = time(&process.ask("last")?)?.saturating_sub(deleted);
    }
    Ok(served)
}

fn time(reply: &str) -> Result<Duration> {
    Ok(Duration::from_nanos(reply.parse().context("a time")?))
}
