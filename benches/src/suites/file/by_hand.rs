use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Result, bail};
use tokio::task::spawn_blocking;

use crate::suites::network::{
    calls::{Call, Client},
    inputs::{Inputs, User},
};

/// Direct use of `std::fs`.
pub(super) struct ByHand {
    directory: Arc<PathBuf>,
    inputs: Arc<Inputs>,
    is_direct: bool,
}

impl ByHand {
    pub(super) fn new(directory: &Path, inputs: &Arc<Inputs>) -> Result<Self> {
        let new = Self {
            directory: Arc::new(directory.to_owned()),
            inputs: Arc::clone(inputs),
            is_direct: false,
        };
        for folder in 0..=u8::MAX {
            fs::create_dir_all(directory.join(format!("{folder:02x}")))?;
        }
        let value = serde_json::to_vec(&new.inputs.value)?;
        // There are no readers yet, so the files have their final names at once.
        for name in new.inputs.all().0 {
            fs::write(place(directory, name), &value)?;
        }
        Ok(new)
    }

    /// Returns a client for the same files that reads on the calling thread.
    pub(super) fn direct(&self) -> Arc<Self> {
        let (directory, inputs) = (Arc::clone(&self.directory), Arc::clone(&self.inputs));
        Arc::new(Self { directory, inputs, is_direct: true })
    }

    async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_direct {
            return run(&self.directory);
        }
        let directory = Arc::clone(&self.directory);
        spawn_blocking(move || run(&directory)).await?
    }
}

impl Client for ByHand {
    async fn get(&self, n: usize) -> Result<()> {
        let name = self.inputs.name(n).to_owned();
        let bytes = self.run(move |it| Ok(fs::read(place(it, &name))?)).await?;
        black_box(serde_json::from_slice::<User>(&bytes)?);
        Ok(())
    }

    async fn get_bytes(&self, n: usize) -> Result<()> {
        let name = self.inputs.name(n).to_owned();
        black_box(self.run(move |it| Ok(fs::read(place(it, &name))?)).await?);
        Ok(())
    }

    async fn set(&self, n: usize) -> Result<()> {
        let name = self.inputs.name(n).to_owned();
        let value = serde_json::to_vec(&self.inputs.value)?;
        self.run(move |it| write(it, &name, &value)).await
    }

    async fn incr(&self, _: usize) -> Result<()> {
        bail!("a counter needs a lock file that is never replaced")
    }

    async fn get_many(&self, n: usize) -> Result<()> {
        let names: Vec<String> = self.inputs.many(n).map(String::from).collect();
        let read = move |it: &Path| {
            names.iter().map(|name| Ok(fs::read(place(it, name))?)).collect::<Result<Vec<_>>>()
        };
        for bytes in self.run(read).await? {
            black_box(serde_json::from_slice::<User>(&bytes)?);
        }
        Ok(())
    }

    async fn set_many(&self, n: usize) -> Result<()> {
        let value = serde_json::to_vec(&self.inputs.value)?;
        let names: Vec<String> = self.inputs.many(n).map(String::from).collect();
        self.run(move |it| names.iter().try_for_each(|name| write(it, name, &value))).await
    }
}

/// Returns the name of the contender that makes a call outside of the calling thread.
pub(super) fn name_of(call: Call) -> &'static str {
    match call {
        Call::Set | Call::SetMany => "temp_rename",
        _ => "fs_read_blocking",
    }
}

fn place(directory: &Path, name: &str) -> PathBuf {
    // The number at the end of the name is a good hash.
    let number: u32 = name[name.len() - 6..].parse().unwrap_or(0);
    directory.join(format!("{:02x}", number % 256)).join(name)
}

/// Writes a temporary file and renames it.
fn write(directory: &Path, name: &str, value: &[u8]) -> Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let temporary = directory.join(format!("tmp-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    fs::write(&temporary, value)?;
    Ok(fs::rename(temporary, place(directory, name))?)
}
