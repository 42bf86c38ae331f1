//! The service while its store is down.

use std::{thread, time::Duration};

use anyhow::{Result, bail};
use reqwest::StatusCode;
use test_servers::{Redis, Server as _};

use crate::running::{Running, body, client, logged_in};

#[tokio::test]
async fn service_answers_from_its_database_while_redis_is_down() -> Result<()> {
    let redis = Redis::start()?;
    // On a slow machine, Redis is not down before it is killed.
    let store = format!(
        "backend = \"redis\"\nlocation = \"{}\"\ndeadline = \"20s\"\n\
         connect_deadline = \"20s\"",
        redis.url()
    );
    let settings = include_str!("../../settings.toml").replace("backend = \"memory\"", &store);
    let settings = settings.replace("location = \"main\"\n", "");
    let service = Running::start(Some(&settings))?;
    let ada = logged_in(&service, 1).await?;
    redis.kill();

    for path in ["/users", "/users/1"] {
        body(client()?.get(service.url(path)).send().await?).await?;
    }
    let health = client()?.get(service.url("/health")).send().await?;
    assert_eq!(health.status(), StatusCode::OK);
    assert!(health.text().await?.contains("default: store unavailable"));
    // A session that cannot be read is an error and not a logout: the cookie stays.
    let me = ada.get(service.url("/me")).send().await?;
    assert!(me.status().is_server_error(), "{}", me.status());
    assert!(!me.headers().contains_key("set-cookie"), "{me:?}");

    redis.restart()?;
    until_healthy(&service).await?;
    let new = logged_in(&service, 2).await?;
    assert_eq!(body(new.get(service.url("/me")).send().await?).await?["name"], "Bob");
    Ok(())
}

/// Waits until the service reaches Redis again: its connections and breakers try it now and then.
async fn until_healthy(service: &Running) -> Result<()> {
    for _ in 0..3000 {
        let health = client()?.get(service.url("/health")).send().await?.text().await?;
        if health == "default: ok\nsessions: ok\n" {
            return Ok(());
        }
        // sleeps: the service has no event for it
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the service does not find the store that is back")
}
