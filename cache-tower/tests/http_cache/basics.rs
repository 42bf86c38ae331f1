//! A response is stored, served, expires, and is removed.

use std::time::Duration;

use cache_tower::http_cache::HttpCache;

use crate::site::{Site, page};

#[tokio::test]
async fn fresh_response_is_served_from_the_cache() {
    let site =
        Site::new(|_| page(&[("cache-control", "max-age=60"), ("x-a", "1"), ("x-a", "2")])).await;
    let first = site.get("/").await;
    assert_eq!((first.text(), first.field("cache-status")), ("1", "pages; fwd=uri-miss; stored"));
    site.clock.advance(Duration::from_secs(7));
    let second = site.get("/").await;
    assert_eq!((second.text(), second.field("age")), ("1", "7"));
    assert_eq!(second.field("cache-status"), "pages; hit; ttl=53");
    assert_eq!(second.headers.get_all("x-a").iter().count(), 2);
    assert_eq!(site.get("/other").await.text(), "2");
    assert_eq!(site.get("/?a").await.text(), "3");
    site.clock.advance(Duration::from_secs(53));
    let third = site.get("/").await;
    assert_eq!((third.text(), third.field("cache-status")), ("4", "pages; fwd=stale; stored"));
}

#[tokio::test]
async fn response_without_lifetime_is_not_stored_unless_a_default_is_set() {
    let site = Site::new(|_| page(&[])).await;
    assert_eq!(site.get("/").await.text(), "1");
    assert_eq!(site.get("/").await.text(), "2");
    let default = |it: HttpCache| it.default_ttl(Duration::from_secs(60));
    let site = Site::with(default, |_| page(&[])).await;
    assert_eq!(site.get("/").await.text(), "1");
    assert_eq!(site.get("/").await.text(), "1");
}

#[tokio::test]
async fn each_variant_has_an_entry_of_its_own() {
    let site =
        Site::new(|_| page(&[("cache-control", "max-age=60"), ("vary", "accept-language")])).await;
    let get = async |language| site.get_with("/", &[("accept-language", language)]).await;
    assert_eq!(get("de").await.text(), "1");
    assert_eq!(get("de").await.text(), "1");
    assert_eq!(get("en").await.text(), "2");
    // The first response was of the URL itself, and the second one of a variant.
    assert_eq!(get("de").await.text(), "3");
    assert_eq!(get("en").await.text(), "2");
    assert_eq!(get("de").await.text(), "3");
    assert_eq!(site.calls(), 3);
}

#[tokio::test]
async fn unsafe_method_removes_the_response() {
    let site = Site::new(|_| page(&[("cache-control", "max-age=60")])).await;
    assert_eq!(site.get("/").await.text(), "1");
    assert_eq!(site.send("POST", "/", &[]).await.text(), "2");
    assert_eq!(site.get("/").await.text(), "3");
}

#[tokio::test]
async fn purged_url_is_loaded_again() {
    let site = Site::new(|_| page(&[("cache-control", "max-age=60")])).await;
    assert_eq!(site.get("/a?b").await.text(), "1");
    assert!(site.http_cache.purge(&site.url("/a?b")).await.unwrap());
    assert_eq!(site.get("/a?b").await.text(), "2");
    assert!(site.http_cache.purge("/a?b").await.is_err(), "without a host");
}
