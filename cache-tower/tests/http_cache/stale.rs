//! Expired responses: served while a new one is loaded, after an error, and to revalidate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::response::Response;
use http::StatusCode;

use crate::site::{Site, page};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn expired_response_is_served_while_one_load_replaces_it() {
    let control = "max-age=10, stale-while-revalidate=20";
    let site = Site::new(move |_| page(&[("cache-control", control)])).await;
    assert_eq!(site.get("/").await.text(), "1");
    site.clock.advance(15 * SECOND);
    let stale = site.get("/").await;
    assert_eq!((stale.text(), stale.field("cache-status")), ("1", "pages; hit; ttl=-5"));
    site.until_calls(2).await;
    site.until("/", "2").await;
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn expired_response_is_not_served_after_its_window() {
    let control = "max-age=10, stale-while-revalidate=20";
    let site = Site::new(move |_| page(&[("cache-control", control)])).await;
    assert_eq!(site.get("/").await.text(), "1");
    site.clock.advance(30 * SECOND);
    let new = site.get("/").await;
    assert_eq!((new.text(), new.field("cache-status")), ("2", "pages; fwd=stale; stored"));
    assert_eq!(site.get("/").await.text(), "2");
}

#[tokio::test]
async fn expired_response_is_not_served_if_it_must_be_revalidated() {
    for control in [
        "max-age=10",
        "max-age=10, stale-while-revalidate=20, must-revalidate",
        "max-age=10, stale-while-revalidate=20, proxy-revalidate",
    ] {
        let site = Site::new(move |_| page(&[("cache-control", control)])).await;
        assert_eq!(site.get("/").await.text(), "1");
        site.clock.advance(11 * SECOND);
        assert_eq!(site.get("/").await.text(), "2", "{control}");
    }
}

/// A site whose status can be changed.
async fn failing(control: &'static str) -> (Site, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let handler = {
        let status = Arc::clone(&status);
        move |_: &_| -> Response {
            let mut response = page(&[("cache-control", control)]);
            let status = status.load(Ordering::SeqCst);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
    };
    (Site::new(handler).await, status)
}

#[tokio::test]
async fn expired_response_is_served_after_an_error_within_its_window() {
    for code in [500, 502, 503, 504] {
        let (site, status) = failing("max-age=10, stale-if-error=20").await;
        assert_eq!(site.get("/").await.text(), "1");
        status.store(code, Ordering::SeqCst);
        site.clock.advance(15 * SECOND);
        let stale = site.get("/").await;
        assert_eq!((stale.status.as_u16(), stale.text()), (200, "1"));
        site.clock.advance(20 * SECOND);
        assert_eq!(site.get("/").await.status, code, "after the window");
        status.store(200, Ordering::SeqCst);
        assert_eq!(site.get("/").await.status, 200, "the site is back");
    }
}

#[tokio::test]
async fn error_is_not_hidden_without_permission() {
    for control in ["max-age=10", "max-age=10, stale-if-error=20, must-revalidate"] {
        let (site, status) = failing(control).await;
        site.get("/").await;
        status.store(503, Ordering::SeqCst);
        site.clock.advance(11 * SECOND);
        assert_eq!(site.get("/").await.status, 503, "{control}");
    }
}

#[tokio::test]
async fn other_errors_are_not_hidden() {
    let (site, status) = failing("max-age=10, stale-if-error=20").await;
    site.get("/").await;
    status.store(404, Ordering::SeqCst);
    site.clock.advance(11 * SECOND);
    assert_eq!(site.get("/").await.status, 404);
}

#[tokio::test]
async fn expired_response_is_revalidated_by_its_validators() {
    let site = Site::new(|request| {
        let mut response =
            page(&[("cache-control", "max-age=10"), ("etag", "\"a\""), ("x-new", "no")]);
        if request.headers().get("if-none-match").is_some_and(|it| it == "\"a\"") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().insert("x-new", "yes".parse().unwrap());
            response.headers_mut().remove("etag");
        }
        response
    })
    .await;
    assert_eq!(site.get("/").await.text(), "1");
    site.clock.advance(11 * SECOND);
    let revalidated = site.get("/").await;
    assert_eq!((revalidated.status.as_u16(), revalidated.text()), (200, "1"));
    assert_eq!((revalidated.field("x-new"), revalidated.field("etag")), ("yes", "\"a\""));
    let status = "pages; fwd=stale; fwd-status=304; stored";
    assert_eq!(revalidated.field("cache-status"), status);
    site.clock.advance(9 * SECOND);
    let fresh = site.get("/").await;
    assert_eq!((fresh.text(), fresh.field("age"), fresh.field("x-new")), ("1", "9", "yes"));
    assert_eq!(site.calls(), 2);
}

// Without a date of its own, the 304 would be as old as the response that it renews.
#[tokio::test]
async fn expiry_of_a_304_counts_from_its_own_time() {
    let site = Site::new(|request| {
        let expires = request.headers()["x-expires"].to_str().unwrap();
        let mut response = page(&[("expires", expires), ("etag", "\"a\"")]);
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    })
    .await;
    let get = async || {
        let expires = httpdate::fmt_http_date(site.cache.clock().wall() + 10 * SECOND);
        site.get_with("/", &[("x-expires", &expires)]).await
    };
    assert_eq!(get().await.text(), "1");
    site.clock.advance(11 * SECOND);
    assert_eq!((get().await.text(), site.calls()), ("1", 2));
    site.clock.advance(9 * SECOND);
    assert_eq!((get().await.text(), site.calls()), ("1", 2), "it is fresh again");
    site.clock.advance(6 * SECOND);
    assert_eq!((get().await.text(), site.calls()), ("1", 3), "it has expired again");
}

/// Starts a site whose response has `old`, and whose answer to a condition is a 304 with `new`.
async fn revalidated(
    old: &'static [(&'static str, &'static str)],
    new: &'static [(&'static str, &'static str)],
) -> Site {
    let site = Site::new(|request| {
        let asks = |name| request.headers().contains_key(name);
        let is_conditional = asks("if-none-match") || asks("if-modified-since");
        let mut response = page(if is_conditional { new } else { old });
        response.headers_mut().insert("cache-control", "max-age=10".parse().unwrap());
        if is_conditional {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    })
    .await;
    assert_eq!(site.get("/").await.text(), "1");
    site.clock.advance(11 * SECOND);
    site
}

#[tokio::test]
async fn digest_of_the_stored_body_is_not_replaced_by_that_of_a_304() {
    for name in ["content-md5", "content-digest", "repr-digest", "digest"] {
        let old = vec![("etag", "\"a\""), (name, "old")].leak();
        let site = revalidated(old, vec![("etag", "\"a\""), (name, "new")].leak()).await;
        assert_eq!(site.get("/").await.field(name), "old");
        assert_eq!(site.get("/").await.field(name), "old");
        assert_eq!(site.calls(), 2, "{name}: it is fresh again");
    }
}

#[tokio::test]
async fn answer_that_another_version_is_not_modified_updates_nothing() {
    const LATE: (&str, &str) = ("last-modified", "Sat, 28 Nov 2015 10:00:00 GMT");
    const EARLY: (&str, &str) = ("last-modified", "Sat, 28 Nov 2015 09:00:00 GMT");
    let pairs: [[&[(&str, &str)]; 2]; 4] = [
        [&[("etag", "\"a\"")], &[("etag", "\"b\""), ("x-new", "yes")]],
        [&[("etag", "W/\"a\"")], &[("etag", "\"a\""), ("x-new", "yes")]],
        [&[LATE], &[EARLY, ("x-new", "yes")]],
        [&[LATE], &[("etag", "\"b\""), ("x-new", "yes")]],
    ];
    for [old, new] in pairs {
        let site = revalidated(old, new).await;
        let reply = site.get("/").await;
        assert_eq!((reply.text(), reply.field("x-new")), ("1", ""), "{new:?}");
        assert_eq!(reply.field(old[0].0), old[0].1, "{new:?}");
        assert_eq!(reply.field("cache-status"), "pages; fwd=stale; fwd-status=304", "{new:?}");
        assert_eq!(site.get("/").await.text(), "3", "{new:?}: all of the response is loaded");
    }
    let same: [[&[(&str, &str)]; 2]; 3] = [
        [&[("etag", "\"a\"")], &[("etag", "W/\"a\""), ("x-new", "yes")]],
        [&[("etag", "\"a\""), LATE], &[("etag", "\"a\""), EARLY, ("x-new", "yes")]],
        [&[LATE], &[("last-modified", "Saturday, 28-Nov-15 10:00:00 GMT"), ("x-new", "yes")]],
    ];
    for [old, new] in same {
        let site = revalidated(old, new).await;
        assert_eq!(site.get("/").await.field("x-new"), "yes", "{new:?}");
        assert_eq!((site.get("/").await.text(), site.calls()), ("1", 2), "{new:?}");
    }
}

#[tokio::test]
async fn response_that_may_no_longer_be_stored_is_removed() {
    let site = Site::new(|request| {
        let is_second = request.headers().contains_key("x-second");
        let control = if is_second { "private" } else { "max-age=10, stale-while-revalidate=999" };
        page(&[("cache-control", control)])
    })
    .await;
    assert_eq!(site.get("/").await.text(), "1");
    site.clock.advance(11 * SECOND);
    assert_eq!(site.get_with("/", &[("x-second", "1")]).await.text(), "1", "it is still served");
    site.until_calls(2).await;
    site.until("/", "3").await;
}
