use std::{
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use tokio::task::spawn_blocking;

use crate::suites::network::{
    calls::Client,
    inputs::{Inputs, User},
};

/// Direct use of the crate `cacache`: its async functions for one value. It has no batches, so a
/// batch calls its blocking functions in one `spawn_blocking`: a hundred of its futures would each
/// change threads several times.
pub(super) struct Cacache {
    directory: Arc<PathBuf>,
    inputs: Arc<Inputs>,
    is_direct: bool,
}

/// The name of the contender.
pub(super) const CACACHE: &str = "cacache";

impl Cacache {
    pub(super) fn new(directory: &Path, inputs: &Arc<Inputs>) -> Result<Self> {
        for name in inputs.all().0 {
            cacache::write_sync(directory, name, contents(&inputs.value, name)?)?;
        }
        let directory = Arc::new(directory.to_owned());
        Ok(Self { directory, inputs: Arc::clone(inputs), is_direct: false })
    }

    /// Returns a client for the same files that reads on the calling thread.
    pub(super) fn direct(&self) -> Arc<Self> {
        let (directory, inputs) = (Arc::clone(&self.directory), Arc::clone(&self.inputs));
        Arc::new(Self { directory, inputs, is_direct: true })
    }

    async fn read(&self, n: usize) -> Result<Vec<u8>> {
        let name = self.inputs.name(n);
        Ok(if self.is_direct {
            cacache::read_sync(&*self.directory, name)?
        } else {
            cacache::read(&*self.directory, name).await?
        })
    }

    fn many(&self, n: usize) -> (Arc<PathBuf>, Vec<String>) {
        (Arc::clone(&self.directory), self.inputs.many(n).map(String::from).collect())
    }
}

impl Client for Cacache {
    async fn get(&self, n: usize) -> Result<()> {
        black_box(serde_json::from_slice::<User>(&self.read(n).await?)?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        black_box(self.read(n).await?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        let name = self.inputs.name(n);
        cacache::write(&*self.directory, name, contents(&self.inputs.value, name)?).await?;
        Ok(())
    }

    async fn incr(&self, _: usize) -> Result<()> {
        bail!("cacache has no counters")
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        let (directory, names) = self.many(n);
        let read = move || {
            let read = |name| cacache::read_sync(&*directory, name);
            names.iter().map(read).collect::<cacache::Result<Vec<_>>>()
        };
        for bytes in spawn_blocking(read).await?? {
            black_box(serde_json::from_slice::<User>(&bytes)?);
        }
        Ok(())
    }

    async fn set_many(&self, n: usize) -> Result<()> {
        let (directory, names) = self.many(n);
        let inputs = Arc::clone(&self.inputs);
        let write = move || {
            names.iter().try_for_each(|name| {
                cacache::write_sync(&*directory, name, contents(&inputs.value, name)?)?;
                anyhow::Ok(())
            })
        };
        spawn_blocking(write).await?
    }
}

/// Returns the value with the number of its key in the text. Files are named after their content,
/// so equal values would share one file, which is faster than in practice.
fn contents(value: &User, name: &str) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    let number = &name.as_bytes()[name.len() - 6..];
    // Before the quotation mark and the brace.
    let end = bytes.len() - 2;
    bytes[end - number.len()..end].copy_from_slice(number);
    Ok(bytes)
}
