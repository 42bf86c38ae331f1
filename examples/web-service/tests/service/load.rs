//! Many clients at once.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet};

use crate::running::{Running, body, client, logged_in};

const CLIENTS: usize = 32;
const REQUESTS: usize = 50;

/// Each client reads while one writes. No read that starts after an acknowledged write is older
/// than it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_after_an_acknowledged_update_is_not_older() -> Result<()> {
    let service = Arc::new(Running::start(None)?);
    let ada = logged_in(&service, 1).await?;
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(CLIENTS + 1));
    let mut clients = JoinSet::new();
    for place in 0..CLIENTS {
        let (service, written, start) = (service.clone(), written.clone(), start.clone());
        clients.spawn(async move {
            let client = client()?;
            start.wait().await;
            for _ in 0..REQUESTS {
                let least = written.load(std::sync::atomic::Ordering::SeqCst);
                let path = if place % 2 == 0 { "/users/2" } else { "/users" };
                let found = body(client.get(service.url(path)).send().await?).await?;
                let name = if place % 2 == 0 { &found["name"] } else { &found[1]["name"] };
                let seen: usize = name.as_str().unwrap_or_default().parse().unwrap_or(0);
                assert!(seen >= least, "{path}: {seen} after {least} was acknowledged");
            }
            anyhow::Ok(())
        });
    }
    start.wait().await;
    for number in 1..=REQUESTS {
        let new = json!({ "name": number.to_string(), "role": "reader" });
        body(ada.put(service.url("/users/2")).json(&new).send().await?).await?;
        written.store(number, std::sync::atomic::Ordering::SeqCst);
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(())
}
