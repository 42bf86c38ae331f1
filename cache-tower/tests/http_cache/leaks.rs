//! Leaks that were published of other HTTP caches, none of which this one has. Each test names its
//! source. All of them would fail for a cache by method and path, with a lifetime from a setting.

use std::time::Duration;

use axum::{extract::Request, response::Response};
use cache_tower::http_cache::HttpCache;
use http::StatusCode;

use crate::site::{Site, page};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const PUBLIC: (&str, &str) = ("cache-control", "public, max-age=60");

/// A site with a default lifetime, as the caches in the sources have: responses need no field to be
/// stored.
async fn by_default(handler: fn(&Request) -> Response) -> Site {
    Site::with(|it: HttpCache| it.default_ttl(Duration::from_secs(60)), handler).await
}

/// Asserts that two requests get responses of their own.
async fn assert_not_shared(site: &Site, first: &[(&str, &str)], second: &[(&str, &str)]) {
    let first = site.get_with("/", first).await;
    let second = site.get_with("/", second).await;
    assert_ne!(first.text(), second.text(), "{first:?} was served again");
}

// https://github.com/ujeenet/rustango/pull/1259, `cache_page` of a Rust framework: a session that
// was opened for one visitor was served to the next one. The same in Ruby:
// https://github.com/rtomayko/rack-cache/pull/52 (also if the response says `public`), and in
// JavaScript: https://github.com/evanshortiss/express-expeditious/issues/2.
#[tokio::test]
async fn rustango_and_rack_cache_set_cookie_is_not_served_to_another_visitor() {
    for fields in [
        vec![("set-cookie", "session=a")],
        vec![("set-cookie", "session=a"), PUBLIC],
        vec![("set-cookie", "session=a"), ("cache-control", "public, s-maxage=60, immutable")],
    ] {
        let owned = fields.clone();
        let default = |it: HttpCache| it.default_ttl(Duration::from_secs(60));
        let site = Site::with(default, move |_| page(&owned)).await;
        assert_not_shared(&site, &[], &[]).await;
    }
}

// https://github.com/tina4stack/tina4-python/pull/117: the key was method and URL, so Bob got the
// page of Alice, who has another cookie. `axum-response-cache` has the same key by its
// documentation: https://docs.rs/axum-response-cache/0.4.0/axum_response_cache.
#[tokio::test]
async fn tina4_and_axum_response_cache_page_of_one_session_is_not_served_to_another() {
    let site = by_default(|_| page(&[])).await;
    assert_not_shared(&site, &[("cookie", "s=alice")], &[("cookie", "s=bob")]).await;
    assert_not_shared(&site, &[("cookie", "s=alice")], &[]).await;
    let site = Site::new(|_| page(&[FRESH])).await;
    assert_not_shared(&site, &[("cookie", "s=alice")], &[("cookie", "s=alice")]).await;
}

// The other direction: a visitor who is logged in gets the page of an anonymous one.
#[tokio::test]
async fn anonymous_page_is_not_served_to_a_session() {
    let site = by_default(|_| page(&[])).await;
    assert_not_shared(&site, &[], &[("cookie", "s=alice")]).await;
    assert_not_shared(&site, &[], &[("authorization", "Bearer a")]).await;
    assert_eq!(site.get("/").await.text(), site.get("/").await.text(), "visitors share it");
}

// https://github.com/harvard-lil/capstone/issues/373: responses to requests with bad credentials
// replaced those of other users.
#[tokio::test]
async fn capstone_response_to_bad_credentials_is_not_stored() {
    let site = Site::new(|request| {
        let mut response = page(&[FRESH]);
        if request.headers().get("authorization").is_some_and(|it| it != "good") {
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
        response
    })
    .await;
    assert_eq!(site.get_with("/", &[("authorization", "bad")]).await.status, 403);
    assert_eq!(site.get_with("/", &[("authorization", "good")]).await.status, 200);
    assert_not_shared(&site, &[("authorization", "good")], &[("authorization", "good")]).await;
}

// https://github.com/pathosDev/actor-ts/issues/980: `private` and `no-store` were ignored, as
// they were in rustango's and tina4's caches.
#[tokio::test]
async fn actor_ts_private_response_is_not_stored() {
    for control in [
        "private",
        "private, max-age=60",
        "PRIVATE, max-age=60",
        "private=\"set-cookie\", max-age=60",
        "max-age=60, no-store",
        "no-cache, max-age=60",
        "no-cache=\"x\", public, max-age=60",
    ] {
        let default = |it: HttpCache| it.default_ttl(Duration::from_secs(60));
        let site = Site::with(default, move |_| page(&[("cache-control", control)])).await;
        assert_not_shared(&site, &[], &[]).await;
    }
}

// https://github.com/yourcelf/django-jimmypage/issues/1: pages of Django with a CSRF token have
// `Vary: Cookie`, which the cache did not see. Here even a public response is one of each cookie.
#[tokio::test]
async fn django_public_page_that_varies_by_cookie_is_one_of_each_cookie() {
    let site = Site::new(|_| page(&[PUBLIC, ("vary", "Accept-Encoding, Cookie")])).await;
    assert_not_shared(&site, &[("cookie", "s=alice")], &[("cookie", "s=bob")]).await;
    assert_not_shared(&site, &[("cookie", "s=bob")], &[]).await;
    let again = site.get_with("/", &[("cookie", "s=bob")]).await;
    assert_eq!(again.field("cache-status").split(';').nth(1), Some(" hit"));
}

// GHSA-r2fc-ccr8-96c4 (CVE-2025-49005): Next.js sent two forms of a page without `Vary`. The cache
// cannot know that. With `Vary` it keeps them apart, also if the field was added later.
#[tokio::test]
async fn next_js_cve_2025_49005_form_of_a_page_is_not_served_for_another() {
    let site = Site::new(|request| {
        let mut response = page(&[FRESH, ("vary", "rsc")]);
        if request.headers().contains_key("next-router-prefetch") {
            let vary = "rsc, next-router-prefetch".parse().unwrap();
            response.headers_mut().insert("vary", vary);
        }
        response
    })
    .await;
    assert_not_shared(&site, &[], &[("rsc", "1")]).await;
    assert_not_shared(&site, &[("rsc", "1"), ("next-router-prefetch", "1")], &[]).await;
}

// https://portswigger.net/research/practical-web-cache-poisoning: the host of a link came from a
// field that was not part of the key.
#[tokio::test]
async fn portswigger_forwarded_host_does_not_poison_the_page() {
    for name in ["x-forwarded-host", "x-host", "x-original-url", "x-rewrite-url", "forwarded"] {
        let site = Site::new(|_| page(&[FRESH])).await;
        let evil =
            if name == "forwarded" { "for=1.2.3.4;host=evil.example" } else { "evil.example" };
        assert_not_shared(&site, &[(name, evil)], &[]).await;
        assert_not_shared(&site, &[], &[(name, evil)]).await;
        assert_eq!(site.get("/").await.text(), site.get("/").await.text(), "{name}");
    }
}

#[tokio::test]
async fn hosts_do_not_share_pages() {
    let site = Site::new(|_| page(&[FRESH])).await;
    assert_not_shared(&site, &[("host", "a.example")], &[("host", "b.example")]).await;
    assert_not_shared(&site, &[("host", "a.example")], &[("host", "a.example:8080")]).await;
}

// https://cpdos.org: error pages that an attacker's request field caused were served to all.
#[tokio::test]
async fn cpdos_error_page_does_not_replace_the_page() {
    for status in [400, 403, 405, 413, 414, 431, 500, 501, 502, 503] {
        let site = Site::new(move |request| {
            let mut response = page(&[FRESH]);
            if request.headers().contains_key("x-oversized") {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
            }
            response
        })
        .await;
        assert_eq!(site.get_with("/", &[("x-oversized", "1")]).await.status, status);
        assert_eq!(site.get("/").await.status, 200);
    }
}

// The same paper: a field that overrides the method.
#[tokio::test]
async fn cpdos_method_override_does_not_poison_the_page() {
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let site = Site::new(|_| page(&[FRESH])).await;
        assert_not_shared(&site, &[(name, "POST")], &[]).await;
    }
}

// https://portswigger.net/research/web-cache-entanglement: the content of a GET request was not
// part of the key.
#[tokio::test]
async fn fat_get_does_not_poison_the_page() {
    let site = Site::new(|_| page(&[FRESH])).await;
    let poison = site.send_body("GET", "/", "x=evil").await;
    assert_eq!(poison.field("cache-status"), "pages; fwd=bypass");
    assert_eq!(site.get("/").await.text(), "2");
}

// The same research: parameters were sorted or removed from the key, but not from the request.
#[tokio::test]
async fn query_is_part_of_the_key_as_it_is() {
    let site = Site::new(|_| page(&[FRESH])).await;
    for (number, path) in
        ["/", "/?", "/?a=1&b=2", "/?b=2&a=1", "/?utm_content=x", "/%61", "/a", "/A"]
            .into_iter()
            .enumerate()
    {
        assert_eq!(site.get(path).await.text(), (number + 1).to_string(), "{path}");
    }
}

// RFC 9111, section 4.1: such a response matches no request.
#[tokio::test]
async fn response_that_varies_by_everything_is_not_stored() {
    for vary in ["*", "accept, *", "not a name"] {
        let site = Site::new(move |_| page(&[PUBLIC, ("vary", vary)])).await;
        assert_not_shared(&site, &[], &[]).await;
    }
}

// RFC 9111, section 3.5: these three directives allow to share responses to requests with
// credentials.
#[tokio::test]
async fn response_to_authorization_is_shared_only_if_it_says_so() {
    for control in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
        let site = Site::new(move |_| page(&[("cache-control", control)])).await;
        let get = async || site.get_with("/", &[("authorization", "a")]).await;
        assert_eq!(get().await.text(), get().await.text(), "{control}");
    }
    let site = Site::new(|_| page(&[("cache-control", "s-maxage=60")])).await;
    assert_not_shared(&site, &[("cookie", "a")], &[("cookie", "a")]).await;
}
