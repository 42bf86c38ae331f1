//! The first program of the README, with a line that links the store on Redis.

use cache_core::{Caches, OnOutage, Timeout, cache, install, secs};
use cache_memory as _; // links the store that the settings name
use cache_redis as _;

#[tokio::main]
async fn main() -> cache_core::Result<()> {
    install(Caches::from_file("settings.toml")?)?;

    // One load for all callers. After a minute, the old value is served while one load runs.
    let load = |_| async { Ok::<_, std::io::Error>("slow to build".to_owned()) };
    println!("{}", cache().fetch("report").ttl(secs(60)).load(load).await?);

    cache().set("motto", "measure first", Timeout::Default).await?;
    cache().set("user:1", &("Ada", 36), secs(60)).await?;
    println!("{:?}", cache().get::<(String, u8)>("user:1").await?);

    // A rate limit. While the store is down, `or_allow` lets every request pass.
    let count = cache().incr_or("visits:ada", 1, 0, secs(60)).await;
    println!("welcome: {}", count.map(|visits| visits <= 100).or_allow()?);

    // `add` is true for exactly one of several callers.
    if cache().add("mail:1", &true, secs(3600)).await.or_allow()? {
        println!("sending the mail");
    }
    Ok(())
}
