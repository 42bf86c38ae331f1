//! The service, tested from outside: by a real client, over loopback.

#![cfg(target_os = "linux")]

mod load;
mod outage;
mod running;

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::json;

use self::running::{Running, body, client, logged_in};

#[tokio::test]
async fn user_that_was_updated_is_never_answered_as_before() -> Result<()> {
    let service = Running::start(None)?;
    let ada = logged_in(&service, 1).await?;
    for name in ["Bea", "Cleo", "Dora"] {
        let url = service.url("/users/2");
        body(client()?.get(&url).send().await?).await?;
        body(client()?.get(service.url("/users")).send().await?).await?;
        let new = json!({ "name": name, "role": "reader" });
        body(ada.put(&url).json(&new).send().await?).await?;
        assert_eq!(body(client()?.get(&url).send().await?).await?["name"], name);
        let page = body(client()?.get(service.url("/users")).send().await?).await?;
        assert_eq!(page[1]["name"], name, "{page}");
    }
    Ok(())
}

#[tokio::test]
async fn page_is_answered_from_the_cache_and_says_so() -> Result<()> {
    let service = Running::start(None)?;
    let get =
        async || client()?.get(service.url("/users")).send().await.map_err(anyhow::Error::from);
    // A process does not store the first response that has a tag it has not seen before.
    get().await?;
    let first = get().await?;
    let second = get().await?;
    assert!(first.headers()["cache-status"].to_str()?.contains("fwd=uri-miss"), "{first:?}");
    assert!(second.headers()["cache-status"].to_str()?.contains("; hit"), "{second:?}");
    assert_eq!(body(first).await?, body(second).await?);
    Ok(())
}

#[tokio::test]
async fn session_ends_with_its_logout() -> Result<()> {
    let service = Running::start(None)?;
    let ada = logged_in(&service, 1).await?;
    assert_eq!(body(ada.get(service.url("/me")).send().await?).await?["name"], "Ada");
    ada.post(service.url("/logout")).send().await?.error_for_status()?;
    assert_eq!(ada.get(service.url("/me")).send().await?.status(), StatusCode::UNAUTHORIZED);
    let change = json!({ "name": "Eve", "role": "admin" });
    let response = ada.put(service.url("/users/1")).json(&change).send().await?;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn repeated_request_with_one_key_creates_one_user() -> Result<()> {
    let service = Running::start(None)?;
    let ada = logged_in(&service, 1).await?;
    let create = async || {
        let new = json!({ "name": "Fay", "role": "reader" });
        let request = ada.post(service.url("/users")).header("idempotency-key", "\"create-fay\"");
        request.json(&new).send().await.map_err(anyhow::Error::from)
    };
    let (first, second) = (create().await?, create().await?);
    assert_eq!((first.status(), second.status()), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(body(first).await?["id"], body(second).await?["id"]);
    let page = body(client()?.get(service.url("/users")).send().await?).await?;
    assert_eq!(page.as_array().map(Vec::len), Some(3), "{page}");
    Ok(())
}

#[tokio::test]
async fn login_is_limited() -> Result<()> {
    let service = Running::start(None)?;
    let client = client()?;
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        let attempt = client.post(service.url("/login")).json(&json!({ "id": 99 }));
        last = attempt.send().await?.status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    Ok(())
}

#[tokio::test]
async fn metrics_and_health_report_on_the_caches() -> Result<()> {
    let service = Running::start(None)?;
    client()?.get(service.url("/users/1")).send().await?.error_for_status()?;
    let text = async |path| {
        let response = client()?.get(service.url(path)).send().await?;
        anyhow::Ok(response.error_for_status()?.text().await?)
    };
    assert!(text("/metrics").await?.contains("cache_operations_total"));
    assert_eq!(text("/health").await?, "default: ok\nsessions: ok\n");
    assert_eq!(service.stop()?, "stopped");
    Ok(())
}
