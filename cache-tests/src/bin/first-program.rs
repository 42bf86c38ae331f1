//! The first program of the README, with a line that links the store on Redis.

use cache_core::{Caches, OnOutage, Timeout, cache, install, secs};
use cache_memory as _; // links the store that the settings name
use cache_redis as _;

#[tokio::main]
async fn main() -> cache_core::Result<()> {
    install(Caches::from_file("settings.toml")?)?;

    // Anything that serde can write: kept for a minute, for the alias's default, or for ever.
    cache().set("user:1", &("Ada", 36), secs(60)).await?;
    cache().set("motto", "measure first", None).await?;
    cache().set("founded", &1815, Timeout::Never).await?;
    let ada: Option<(String, u8)> = cache().get("user:1").await?;
    println!("{ada:?}");

    // What is not there is loaded, once, however many callers want it.
    let load = || async { "slow to build".to_owned() };
    let report = cache().get_or_set("report", secs(3600), load).await?;
    println!("{report}");

    // A rate limit: the counter is made with its lifetime in one step. While the store is down there
    // is no count: `or_allow` lets everyone in, `or_deny` would let nobody in.
    let count = cache().incr_or("visits:ada", 1, 0, secs(60)).await;
    let is_welcome = count.map(|visits| visits <= 100).or_allow()?;
    println!("welcome: {is_welcome}, {:?}", cache().ttl("visits:ada").await?);

    // One of several callers is the first.
    if cache().add("mail:1", &true, secs(3600)).await.or_allow()? {
        println!("sending the mail");
    }
    Ok(())
}
