//! What an entry takes beside its key and its value: measured as the memory of a process that holds a million of them and
//! nothing else, because in one process the second contender would find what the first has freed.

use std::{env, fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::stores::{Engine, Map, Moka, Ours, Store, VALUE_LEN, key, value};
use crate::harness::{Bench, Case, Unit};

/// By which this program tells itself to weigh one contender, of a given name and in a given way.
pub const WEIGH: &str = "--weigh";

const ENTRIES: usize = 1_000_000;

/// In ways: with room to spare, and full after twice as many were written; and with room to spare when each entry
/// has a lifetime and has been read.
const WAYS: [(&str, &[&str]); 3] = [
    ("roomy", &[Ours::NAME, Engine::NAME, Moka::NAME, Map::NAME]),
    ("full", &[Ours::NAME, Engine::NAME, Moka::NAME]),
    ("expiring_read", &[Ours::NAME, Moka::NAME]),
];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if resident().is_err() {
        println!("(overhead: not measured, this system does not tell a program its memory)");
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
                samples.push(in_a_process_of_its_own(name, way)?);
            }
        }
        let case = Case::new(case, Unit::BytesPerEntry, VALUE_LEN).on_threads(1);
        bench.tell(&case, names, &samples)?;
    }
    Ok(())
}

fn in_a_process_of_its_own(name: &str, way: &str) -> Result<f64> {
    let out = Command::new(env::current_exe()?).args([WEIGH, name, way]).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim().parse()?)
}

/// Weighs one contender, and prints what an entry takes beside its key and its value.
pub fn weigh(name: &str, way: &str) -> Result<()> {
    let figure = match name {
        Ours::NAME => overhead::<Ours>(way),
        Engine::NAME => overhead::<Engine>(way),
        Moka::NAME => overhead::<Moka>(way),
        Map::NAME => overhead::<Map>(way),
        _ => bail!("no contender is called {name}"),
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
        _ => bail!("there is no way called {way}"),
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

/// The bytes of memory that this process has.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
