//! The memory overhead of an entry besides its key and its value. Each contender runs in its own
//! process with a million entries, because it would reuse the freed memory of another contender.

use std::{env, fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::stores::{Engine, Map, Moka, Ours, Store, VALUE_LEN, key, value};
use crate::harness::{Bench, Case, Unit};

/// The argument with which this program starts itself to measure one contender in one way.
pub const WEIGH: &str = "--weigh";

const ENTRIES: usize = 1_000_000;

/// The ways and their contenders: with free room; full, after twice as many writes; and with free
/// room, when each entry has a lifetime and was read.
const WAYS: [(&str, &[&str]); 3] = [
    ("roomy", &[Ours::NAME, Engine::NAME, Moka::NAME, Map::NAME]),
    ("full", &[Ours::NAME, Engine::NAME, Moka::NAME]),
    ("expiring_read", &[Ours::NAME, Moka::NAME]),
];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if resident().is_err() {
        println!("(overhead: not measured: this system has no /proc/self/status)");
        return Ok(());
    }
    for (way, names) in WAYS {
        let case = format!("overhead_{way}");
        if !bench.wants(&case) {
            continue;
        }
        let rounds = if bench.effort().quick { 1 } else { 3 };
        let mut samples = vec![Vec::new(); names.len()];
        for _ in 0..rounds {
            for (samples, name) in samples.iter_mut().zip(names) {
                samples.push(in_own_process(name, way)?);
            }
        }
        let case = Case::new(case, Unit::BytesPerEntry, VALUE_LEN).on_threads(1);
        bench.tell(&case, names, &samples)?;
    }
    Ok(())
}

fn in_own_process(name: &str, way: &str) -> Result<f64> {
    let out = Command::new(env::current_exe()?).args([WEIGH, name, way]).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim().parse()?)
}

/// Measures one contender, and prints the overhead of an entry in bytes.
pub fn weigh(name: &str, way: &str) -> Result<()> {
    let figure = match name {
        Ours::NAME => overhead::<Ours>(way),
        Engine::NAME => overhead::<Engine>(way),
        Moka::NAME => overhead::<Moka>(way),
        Map::NAME => overhead::<Map>(way),
        _ => bail!("unknown contender {name}"),
    };
    println!("{}", figure?);
    Ok(())
}

fn overhead<S: Store>(way: &str) -> Result<f64> {
    let before = resident()?;
    let (room, writes, life) = match way {
        "roomy" => (2 * ENTRIES, ENTRIES, None),
        "full" => (ENTRIES, 2 * ENTRIES, None),
        "expiring_read" => (2 * ENTRIES, ENTRIES, Some(Duration::from_secs(3600))),
        _ => bail!("unknown way {way}"),
    };
    let store = S::new(room, life);
    for n in 0..writes {
        store.set(&key(n), value());
    }
    if way == "expiring_read" {
        (0..writes).for_each(|n| drop(store.get(&key(n))));
    }
    store.settle();
    let taken = resident()?.saturating_sub(before) as f64 / store.len() as f64;
    Ok(taken - (key(0).len() + VALUE_LEN) as f64)
}

/// Returns the resident memory of this process in bytes.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
