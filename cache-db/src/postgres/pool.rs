//! The connections of one tokio runtime, and the task that trims.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use cache_core::{Result, TimeLimit};
use tokio::{runtime::Handle, task::AbortHandle};

use super::{
    connect::{Answer, Connector, Param},
    line::Line,
    sql::Ask,
    trim::{self, Written},
};
use crate::options::Plan;

/// What the pools of a store have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) connector: Arc<Connector>,
}

impl Common {
    pub(crate) fn plan(&self) -> &Plan {
        &self.connector.plan.plan
    }
}

/// Ends with its runtime, or when the store is closed.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) common: Arc<Common>,
    pub(crate) written: Arc<Written>,
    pub(crate) runtime: Handle,
    lines: Vec<Line>,
    /// For what is slow: what is sent behind it on the same connection waits for it.
    slow: Line,
    patient: TimeLimit,
    trimming: AbortHandle,
}

/// What has no deadline as a whole goes in steps, and each may take this many deadlines: it may work on a thousand rows.
const PATIENCE: u32 = 10;

impl Pool {
    pub(crate) fn new(common: Arc<Common>, runtime: &Handle) -> Arc<Self> {
        let line = |_| Line::new(Arc::clone(&common.connector), runtime.clone());
        let lines = (0..common.connector.plan.connections).map(line).collect();
        let slow = line(0);
        let time = common.plan().deadline.saturating_mul(PATIENCE);
        let patient = TimeLimit::new(
            time.clamp(Duration::from_secs(1), Duration::from_secs(60)),
            common.connector.clock.clone(),
        );
        let written = Arc::<Written>::default();
        Arc::new_cyclic(|pool| {
            let clock = common.connector.clock.clone();
            let trimming = trim::task(pool.clone(), Arc::clone(&written), clock);
            let trimming = runtime.spawn(trimming).abort_handle();
            let runtime = runtime.clone();
            Self { common, written, runtime, lines, slow, patient, trimming }
        })
    }

    /// Asks about this key. It always takes the same connection, or what is sent about it could lose its order.
    pub(crate) async fn ask(&self, key: &str, ask: Ask, params: &[Param<'_>]) -> Result<Answer> {
        self.line_of(key).ask(None, ask, params).await
    }

    /// Asks what takes as long as it takes.
    pub(crate) async fn ask_patiently(&self, ask: Ask, params: &[Param<'_>]) -> Result<Answer> {
        self.slow.ask(Some(&self.patient), ask, params).await
    }

    pub(crate) async fn check(&self) -> Result<()> {
        for line in &self.lines {
            line.check().await?;
        }
        Ok(())
    }

    fn line_of(&self, key: &str) -> &Line {
        if let [line] = &self.lines[..] {
            return line;
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        // What remains is below the length.
        let number = usize::try_from(hasher.finish() % self.lines.len() as u64).unwrap_or(0);
        &self.lines[number]
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.trimming.abort();
    }
}
