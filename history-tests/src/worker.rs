//! A worker: a process that calls the caches until its time is over, and records each call.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use anyhow::{Context as _, Result};
use cache_core::Caches;

use crate::{
    client::Client,
    near::NearCounts,
    plan::{Plan, Shared},
    planted,
    record::Recorder,
    source::Source,
    standstill,
};

/// Runs a worker to its end.
///
/// # Errors
/// If the plan or its settings are invalid, or a client panics.
pub fn run(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("the plan of the worker")?;
    let builder = Caches::builder().driver(planted::DRIVER);
    let caches = builder.toml(&plan.settings)?.build()?;
    let shared = Arc::new(Shared {
        recorder: Recorder::create(&plan.history, u64::from(plan.process) << 32)?,
        source: Source::new(plan.source.clone()),
        plain: caches.get("default")?.strict(),
        fenced: caches.get("fenced")?.clone(),
        grouped: caches.get("grouped")?.strict(),
        revised: caches.get("revised")?.strict(),
        plan,
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if !shared.plan.counters.is_empty() {
            return Client::new(&shared, 0).count_all().await;
        }
        let over = Arc::<AtomicBool>::default();
        let measured = tokio::spawn(standstill::measure(Arc::clone(&shared), Arc::clone(&over)));
        let clients: Vec<_> = (0..shared.plan.clients)
            .map(|it| tokio::spawn(Client::new(&shared, it).run()))
            .collect();
        for it in clients {
            it.await??;
        }
        over.store(true, SeqCst);
        measured.await?;
        if shared.plan.has_near {
            shared.recorder.near(NearCounts::of(&caches));
        }
        Ok(())
    })
}
