//! Loads the most important entries again during a deploy, while requests get the old ones.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use cache_core::{Cache, Result, secs};
use cache_memory::Memory;
use tokio::{sync::Semaphore, task::JoinSet};

// ANCHOR: recipe
/// The number of pages that are rendered at a time: the other cores serve requests.
const AT_ONCE: usize = 4;

/// Renders the pages again. Returns the pages that failed and stay as they are.
async fn refresh(cache: &Cache, site: &Arc<Site>, pages: &[&'static str]) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for pages in pages.chunks(AT_ONCE) {
        let mut running = JoinSet::new();
        for &page in pages {
            let (cache, site) = (cache.clone(), Arc::clone(site));
            running.spawn(async move {
                // `force` loads although there is a page, and replaces it after the load.
                let load = move |_| async move { site.render(page).await };
                let rendered = cache.fetch(&key(page)).ttl(secs(3600)).force().load(load).await;
                rendered.err().map(|_| page)
            });
        }
        failed.extend(running.join_all().await.into_iter().flatten());
    }
    failed
}

fn key(page: impl fmt::Display) -> String {
    format!("page:{page}")
}
// ANCHOR_END: recipe

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (cache, site) = (Cache::new("pages", Memory::new()), Arc::new(Site::new()));
    let pages = ["home", "prices", "help", "jobs", "broken"];
    for page in pages {
        cache.set(&key(page), &format!("{page} of release 1"), secs(3600)).await?;
    }

    // The loads have begun and wait, and requests get the old pages.
    let running = tokio::spawn({
        let (cache, site) = (cache.clone(), Arc::clone(&site));
        async move { refresh(&cache, &site, &pages).await }
    });
    site.loads_began.acquire_many(4).await.expect("the semaphore is never closed").forget();
    assert_eq!(cache.get::<String>(&key("home")).await?.as_deref(), Some("home of release 1"));
    site.may_answer.add_permits(1);

    assert_eq!(running.await.expect("it does not panic"), ["broken"]);
    for page in ["home", "prices", "help", "jobs"] {
        assert_eq!(cache.get::<String>(&key(page)).await?, Some(format!("{page} of release 2")));
    }
    assert_eq!(cache.get::<String>(&key("broken")).await?.as_deref(), Some("broken of release 1"));
    assert_eq!(site.renders.load(Ordering::Relaxed), 5);
    println!("4 pages are new, and the broken page stays as it was");
    Ok(())
}

/// Stands for code that renders pages. It answers when this program lets it.
struct Site {
    renders: AtomicU32,
    loads_began: Semaphore,
    may_answer: Semaphore,
}

impl Site {
    fn new() -> Self {
        let [loads_began, may_answer] = [0, 0].map(Semaphore::new);
        Self { renders: AtomicU32::new(0), loads_began, may_answer }
    }

    async fn render(&self, page: &str) -> io::Result<String> {
        self.renders.fetch_add(1, Ordering::Relaxed);
        self.loads_began.add_permits(1);
        let _permit = self.may_answer.acquire().await.map_err(io::Error::other)?;
        if page == "broken" {
            return Err(io::Error::other("no template"));
        }
        Ok(format!("{page} of release 2"))
    }
}
