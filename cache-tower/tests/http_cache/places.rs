//! Where the layer is, where it stores, and how responses are removed.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use cache_core::{Cache, Caches, testing::FakeClock};
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tower_service::Service;

use crate::site::{Site, page};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

async fn text(router: &mut Router, uri: &str) -> String {
    let request = Request::builder().uri(uri).header("host", "a").body(Body::empty()).unwrap();
    let body = router.call(request).await.unwrap().into_body();
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn responses_are_shared_by_processes_through_redis() {
    let redis = test_servers::Redis::start().unwrap();
    // A page that Redis does not return in time would be made again.
    let settings = format!(
        "[caches.default]\nbackend = 'redis'\nlocation = '{}'\ndeadline = '20s'\n\
         connect_deadline = '20s'\nbreaker.enabled = false",
        redis.url()
    );
    let mut sites = Vec::new();
    for _ in 0..2 {
        // Two `Caches` share nothing but the server, as those of two processes.
        let caches = Caches::builder().driver(cache_redis::DRIVER).toml(&settings).unwrap();
        let cache = caches.build().unwrap().get("default").unwrap().clone();
        let http_cache = HttpCache::new(&cache);
        let fields = [FRESH, ("vary", "accept-language"), ("etag", "\"a\"")];
        let site = Site::of(cache, http_cache, FakeClock::new(), move |_| page(&fields)).await;
        sites.push(site);
    }
    let host = ("host", "a.example");
    let get = async |site: &Site, language| {
        site.get_with("/", &[host, ("accept-language", language)]).await.text().to_owned()
    };
    assert_eq!(get(&sites[0], "de").await, "1");
    assert_eq!(get(&sites[1], "de").await, "1");
    assert_eq!((get(&sites[1], "en").await, sites[1].calls()), ("1".to_owned(), 1));
    assert_eq!((get(&sites[0], "en").await, sites[0].calls()), ("1".to_owned(), 1));
    assert!(sites[1].http_cache.purge("http://a.example/").await.unwrap());
    assert_eq!(get(&sites[0], "en").await, "2");
}

#[tokio::test]
async fn nested_routers_with_equal_paths_do_not_share_pages() {
    let layer = HttpCache::new(&Cache::new("pages", Memory::new())).layer();
    let part = |name: &'static str| {
        let handler = get(async move || ([FRESH], name));
        Router::new().route("/list", handler).layer(layer.clone())
    };
    let mut router = Router::new().nest("/public", part("public")).nest("/admin", part("admin"));
    for _ in 0..2 {
        assert_eq!(text(&mut router, "/public/list").await, "public");
        assert_eq!(text(&mut router, "/admin/list").await, "admin");
    }
}

#[tokio::test]
async fn one_route_can_be_cached_alone() {
    let layer = HttpCache::new(&Cache::new("pages", Memory::new())).layer();
    let calls = Arc::<AtomicUsize>::default();
    let handler = || {
        let calls = calls.clone();
        get(async move || {
            let calls = calls.fetch_add(1, Ordering::SeqCst) + 1;
            ([FRESH], calls.to_string())
        })
    };
    let mut router = Router::new().route("/a", handler().layer(layer)).route("/b", handler());
    assert_eq!(text(&mut router, "/a").await, "1");
    assert_eq!(text(&mut router, "/a").await, "1");
    assert_eq!(text(&mut router, "/b").await, "2");
    assert_eq!(text(&mut router, "/b").await, "3");
}

#[tokio::test]
async fn invalidated_tag_removes_its_responses() {
    for field in ["cache-tag", "surrogate-key"] {
        let separator = if field == "cache-tag" { ", " } else { " " };
        let tags = format!("all{separator}product-7");
        let site = Site::new(move |_| page(&[FRESH, (field, &tags)])).await;
        // A process does not store the first response with a tag that it has not seen before.
        let first = site.get("/").await;
        assert_eq!(first.field("cache-status"), "pages; fwd=uri-miss");
        site.clock.advance(Duration::from_millis(1));
        let second = site.get("/").await;
        assert_eq!(second.field("cache-status"), "pages; fwd=uri-miss; stored");
        assert_eq!(site.get("/").await.text(), second.text());
        site.cache.invalidate_tags(["product-7"]).await.unwrap();
        assert_ne!(site.get("/").await.text(), second.text());
    }
}

#[tokio::test]
async fn response_with_tags_is_not_stored_by_a_cache_without_tags() {
    let clock = FakeClock::new();
    let cache = Cache::new("pages", Memory::new());
    let http_cache = HttpCache::new(&cache);
    let site = Site::of(cache, http_cache, clock, |_| page(&[FRESH, ("cache-tag", "a")])).await;
    assert_eq!(site.get("/").await.text(), "1");
    assert_eq!(site.get("/").await.text(), "2");
}

#[tokio::test]
async fn location_of_an_unsafe_response_is_removed() {
    for (name, value) in [
        ("location", "/list?all"),
        ("location", "list?all"),
        ("content-location", "/list?all#last"),
    ] {
        let site = Site::new(move |request| match request.method().as_str() {
            "GET" => page(&[FRESH]),
            _ => page(&[(name, value)]),
        })
        .await;
        assert_eq!(site.get("/list?all").await.text(), "1");
        site.send("POST", "/new", &[]).await;
        assert_eq!(site.get("/list?all").await.text(), "3", "{name}: {value}");
    }
}

#[tokio::test]
async fn location_is_relative_to_the_url_of_the_client() {
    for (location, removed) in [
        ("list", "/shop/orders/list"),
        ("./list", "/shop/orders/list"),
        ("../list", "/shop/list"),
        ("../../list", "/list"),
        ("../../../list", "/list"),
        ("..", "/shop/"),
        (".", "/shop/orders/"),
        ("?all=a/../b", "/shop/orders/new?all=a/../b"),
        ("list?from=http://b.example/", "/shop/orders/list?from=http://b.example/"),
        ("/shop/./orders/../list#last", "/shop/list"),
        ("//a.example/list", "/list"),
        ("http://A.example:80/shop/../list", "/list"),
        ("https://a.example?all", "/?all"),
    ] {
        let answer = async move |request: Request| {
            let is_get = request.method() == "GET";
            page(&[if is_get { FRESH } else { ("location", location) }])
        };
        let shop = Router::new().fallback(answer);
        let layer = HttpCache::new(&Cache::new("pages", Memory::new())).layer();
        let mut router = Router::new().nest("/shop", shop.clone()).fallback(answer).layer(layer);
        let mut is_hit = async |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri).header("host", "a.example");
            let response = router.call(request.body(Body::empty()).unwrap()).await.unwrap();
            response.headers()["cache-status"].to_str().unwrap().contains("hit")
        };
        assert!(!is_hit("GET", removed).await && is_hit("GET", removed).await);
        is_hit("POST", "/shop/orders/new?old").await;
        assert!(!is_hit("GET", removed).await, "{location} is {removed}");
    }
}

#[tokio::test]
async fn location_of_another_host_is_not_removed() {
    let site = Site::new(|request| match request.method().as_str() {
        "GET" => page(&[FRESH]),
        _ => page(&[("location", "http://b.example/list")]),
    })
    .await;
    let get = async || site.get_with("/list", &[("host", "b.example")]).await;
    assert_eq!(get().await.text(), "1");
    site.send("POST", "/list", &[("host", "a.example")]).await;
    assert_eq!(get().await.text(), "1");
}

#[tokio::test]
async fn failed_unsafe_request_removes_nothing() {
    let site = Site::new(|request| {
        let mut response = page(&[FRESH]);
        if request.method() == "POST" {
            *response.status_mut() = http::StatusCode::CONFLICT;
        }
        response
    })
    .await;
    assert_eq!(site.get("/").await.text(), "1");
    assert_eq!(site.send("POST", "/", &[]).await.status, 409);
    assert_eq!(site.get("/").await.text(), "1");
}

#[tokio::test]
async fn long_body_is_passed_on_before_it_ends() {
    let (sender, receiver) = mpsc::unbounded_channel::<Result<_, Infallible>>();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let handler = get(async move || -> Response {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        ([FRESH], Body::new(StreamBody::new(frames))).into_response()
    });
    let http_cache = HttpCache::new(&Cache::new("pages", Memory::new())).max_body(4);
    let mut router = Router::new().route("/", handler).layer(http_cache.layer());
    let frame = |text: &'static str| Ok(http_body::Frame::data(Bytes::from(text)));
    sender.send(frame("abc")).unwrap();
    sender.send(frame("def")).unwrap();
    // The body has not ended.
    let response = router.call(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.headers()["cache-status"], "pages; fwd=uri-miss");
    sender.send(frame("ghi")).unwrap();
    drop(sender);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "abcdefghi");
}

#[tokio::test]
async fn body_with_trailers_or_of_the_wrong_length_is_not_stored() {
    for (length, trailers) in [("5", None), ("3", Some(http::HeaderMap::new()))] {
        let handler = get(async move || {
            let data = Ok::<_, Infallible>(http_body::Frame::data(Bytes::from("abc")));
            let frames =
                [data].into_iter().chain(trailers.map(|it| Ok(http_body::Frame::trailers(it))));
            let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
            ([FRESH, ("content-length", length)], body)
        });
        let layer = HttpCache::new(&Cache::new("pages", Memory::new())).layer();
        let mut router = Router::new().route("/", handler).layer(layer);
        for _ in 0..2 {
            let response = router.call(Request::new(Body::empty())).await.unwrap();
            let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
            assert!(!status.contains("hit") && !status.contains("stored"), "{status}");
        }
    }
}
