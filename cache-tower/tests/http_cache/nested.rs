//! A layer inside of another one: over one cache, and over two.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::any,
};
use cache_core::Cache;
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use tower_service::Service;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn memory() -> Cache {
    Cache::new("pages", Memory::new())
}

/// Returns a router that answers all requests with the number of the call.
fn counted() -> Router {
    let calls = Arc::<AtomicUsize>::default();
    let handler = any(async move || {
        let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
        ([FRESH], number.to_string())
    });
    Router::new().fallback(handler)
}

async fn text(router: &mut Router, method: Method, fields: &[(&str, &str)]) -> String {
    let mut request = Request::builder().method(method).uri("/").header("host", "a");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = router.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Returns a router with two layers over one cache, and a field that a layer between them adds.
fn around(name: &'static str, value: &'static str) -> Router {
    let cache = memory();
    let add = middleware::map_response(move |mut response: Response| {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(HeaderName::from_static(name), value);
        ready(response)
    });
    counted().layer(HttpCache::new(&cache).layer()).layer(add).layer(HttpCache::new(&cache).layer())
}

#[tokio::test]
async fn inner_layer_does_not_store_what_the_outer_one_refuses() {
    for (name, value) in [("cache-control", "private"), ("set-cookie", "a=b"), ("vary", "*")] {
        let mut router = around(name, value);
        for number in 1..=4 {
            let body = text(&mut router, Method::GET, &[]).await;
            assert_eq!(body, number.to_string(), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn inner_layer_does_not_store_what_the_outer_one_passes_on() {
    // A layer between them removes the field for which the outer one does so.
    for field in [
        ("cache-control", "no-store"),
        ("content-length", "1"),
        ("if-match", "\"a\""),
        ("host", "b"),
    ] {
        let cache = memory();
        let drop_field = middleware::map_request(move |mut request: Request| {
            if field.0 == "host" {
                request.headers_mut().insert("host", HeaderValue::from_static("a"));
            } else {
                request.headers_mut().remove(field.0);
            }
            ready(request)
        });
        let add = middleware::map_response(async |mut response: Response| {
            response.headers_mut().insert("cache-control", HeaderValue::from_static("private"));
            response
        });
        let mut router = counted()
            .layer(HttpCache::new(&cache).layer())
            .layer(drop_field)
            .layer(add)
            .layer(HttpCache::new(&cache).layer());
        assert_eq!(text(&mut router, Method::GET, &[field]).await, "1");
        assert_eq!(text(&mut router, Method::GET, &[]).await, "2", "{field:?}");
    }
}

#[tokio::test]
async fn inner_layer_does_not_store_a_request_whose_method_was_changed() {
    let cache = memory();
    let to_get = middleware::from_fn(async |mut request: Request, next: Next| {
        *request.method_mut() = Method::GET;
        let mut response = next.run(request).await;
        response.headers_mut().insert("cache-control", HeaderValue::from_static("private"));
        response
    });
    let mut router = counted()
        .layer(HttpCache::new(&cache).layer())
        .layer(to_get)
        .layer(HttpCache::new(&cache).layer());
    for number in 1..=2 {
        assert_eq!(text(&mut router, Method::OPTIONS, &[]).await, (2 * number - 1).to_string());
        assert_eq!(text(&mut router, Method::GET, &[]).await, (2 * number).to_string());
    }
}

#[tokio::test]
async fn unsafe_request_removes_the_response_from_both_caches() {
    let inner = counted().layer(HttpCache::new(&memory()).layer());
    let mut outer = inner.clone().layer(HttpCache::new(&memory()).layer());
    let mut inner = inner;
    assert_eq!(text(&mut inner, Method::GET, &[]).await, "1");
    assert_eq!(text(&mut outer, Method::GET, &[]).await, "2");
    assert_eq!(text(&mut outer, Method::POST, &[]).await, "3");
    assert_eq!(text(&mut inner, Method::GET, &[]).await, "4");
    assert_eq!(text(&mut outer, Method::GET, &[]).await, "5");
}
