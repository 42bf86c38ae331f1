//! The near tier in front of Redis, compared with `moka` in front of the crate `redis`, by hand.
//!
//! `hit` is a read of a key that is near; `far` reads the same keys without a near tier. `miss` is
//! a read of a key that is not near, and keeps it. The value of `moka` is an `Arc` of the object,
//! as a program would keep it; the near tier keeps the stored bytes, and a `get` decodes them.
//!
//! `heard_p50` and `heard_p99` are the times from the acknowledgement of a write by another process
//! to the beginning of the first read that finds it. `moka` hears of it by a message that the
//! writer publishes in the same round trip.
//!
//! `server_set` is the CPU time of the server for a `SET` while so many near tiers hear of it.

mod by_hand;
mod heard;
mod tier;
mod tracked;

use std::{hint::black_box, sync::Arc};

use anyhow::Result;
use cache_core::Cache;
use test_servers::Redis;

use self::{
    by_hand::ByHand,
    tier::{VALUE_BYTES, far_settings, near},
};
use super::network::{
    BUSY,
    calls::found,
    inputs::{Inputs, User},
    ours::{self, LIFETIME},
    workers::{Job, Workers},
};
use crate::harness::{Bench, Case, Contest, Unit};

/// The name of the suite on the command line.
pub const NAME: &str = "near";

/// Measures hits, misses, messages, and the server.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let server = Redis::start()?;
    let workers = Workers::current_thread()?;
    reads(bench, &workers, &server)?;
    heard::run(bench, &server)?;
    tracked::run(bench, &workers, &server)
}

fn reads(bench: &mut Bench<'_>, workers: &Workers, server: &Redis) -> Result<()> {
    // A tier of one entry has no other key.
    for (name, entries) in [("hit", 1_000_000), ("miss", 1)] {
        if !bench.wants(name) {
            continue;
        }
        let inputs = Inputs::new(VALUE_BYTES)?;
        let (ours, far, by_hand) = workers.block_on(async {
            let ours = near(&server.url(), entries).await?;
            let far = ours::cache(&far_settings(&server.url()))?;
            let values = inputs.all().0.iter().map(|it| (it, &inputs.value));
            far.set_many(values, LIFETIME).await?.into_result()?;
            let by_hand = Arc::new(ByHand::connect(&server.url(), entries).await?);
            anyhow::Ok((ours, far, by_hand))
        })?;
        for (tasks, unit) in [(1, Unit::Nanos), (BUSY, Unit::PerSecond)] {
            let sides = vec![
                workers.side("near", tasks, gets(&ours, &inputs)),
                workers.side("far", tasks, gets(&far, &inputs)),
                workers.side("moka", tasks, by_hand::gets(&by_hand, &inputs)),
            ];
            let case = Case::new(name, unit, VALUE_BYTES).on_runtime(workers.flavour(), tasks);
            bench.run(Contest { case: case.with_cpu(), sides })?;
        }
    }
    Ok(())
}

fn gets(cache: &Cache, inputs: &Arc<Inputs>) -> Job {
    let (cache, inputs) = (cache.clone(), Arc::clone(inputs));
    Arc::new(move |range| {
        let (cache, inputs) = (cache.clone(), Arc::clone(&inputs));
        Box::pin(async move {
            for n in range {
                black_box(found(cache.get::<User>(inputs.name(n)).await?)?);
            }
            Ok(())
        })
    })
}
