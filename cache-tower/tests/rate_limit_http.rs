//! The layer of the rate limit in an axum service, over real connections.

#![cfg(feature = "rate-limit")]

mod http;

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use cache_core::Cache;
use cache_memory::Memory;
use cache_tower::rate_limit::{
    ClientAddress, ClientKey, Decision, Limiter, RateLimit, RateLimitLayer,
};

use self::http::{Reply, send, serve};

const MINUTE: Duration = Duration::from_secs(60);

fn limiter(name: &str, limit: u32) -> Limiter {
    let cache = Cache::new("test", Memory::new());
    Limiter::deny_on_failure(&cache, name, RateLimit::fixed_window(limit, MINUTE)).unwrap()
}

fn service(layer: RateLimitLayer) -> Router {
    Router::new().route("/", get(async || "hello")).layer(layer)
}

fn peer() -> ClientAddress {
    ClientAddress::of_peer(|parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
}

/// Serves with a limit of one request for each client.
async fn serve_one_each(address: ClientAddress) -> SocketAddr {
    serve(service(RateLimitLayer::new(limiter("one", 1), ClientKey::address(address)))).await
}

async fn fetch(to: SocketAddr, headers: &str) -> Reply {
    send(to, &format!("GET /\r\n{headers}"), "").await
}

#[tokio::test]
async fn refusal_has_the_status_and_the_fields_of_the_draft() {
    let key = ClientKey::address(peer());
    let to = serve(service(RateLimitLayer::new(limiter("my \"api\"", 2), key))).await;
    let first = fetch(to, "").await;
    assert_eq!((first.status, first.body.as_str()), (200, "hello"));
    assert_eq!(first.header("ratelimit-policy"), r#""my \"api\"";q=2;w=60"#);
    assert_eq!(first.header("ratelimit"), r#""my \"api\"";r=1;t=60"#);
    assert_eq!(first.header("retry-after"), "");
    fetch(to, "").await;
    let third = fetch(to, "").await;
    assert_eq!((third.status, third.body.as_str()), (429, ""));
    assert_eq!(third.header("ratelimit-policy"), r#""my \"api\"";q=2;w=60"#);
    let wait: u32 = third.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(third.header("ratelimit"), format!(r#""my \"api\"";r=0;t={wait}"#));
}

#[tokio::test]
async fn fields_of_two_limits_are_a_list() {
    let key = || ClientKey::address(peer());
    let inner = service(RateLimitLayer::new(limiter("permin", 50), key()));
    let hour = Duration::from_secs(3600);
    let cache = Cache::new("test", Memory::new());
    let perhr = Limiter::allow_on_failure(&cache, "perhr", RateLimit::fixed_window(1000, hour));
    let to = serve(inner.layer(RateLimitLayer::new(perhr.unwrap(), key()))).await;
    let reply = fetch(to, "").await;
    assert_eq!(reply.header("ratelimit-policy"), r#""permin";q=50;w=60, "perhr";q=1000;w=3600"#);
    assert_eq!(reply.header("ratelimit"), r#""permin";r=49;t=60, "perhr";r=999;t=3600"#);
}

#[tokio::test]
async fn headers_of_a_client_without_a_trusted_proxy_are_not_read() {
    for address in [peer(), peer().behind_x_forwarded_for(["10.0.0.0/8"]).unwrap()] {
        let to = serve_one_each(address).await;
        assert_eq!(fetch(to, "x-forwarded-for: 1.1.1.1\r\n").await.status, 200);
        assert_eq!(fetch(to, "x-forwarded-for: 2.2.2.2\r\n").await.status, 429);
        assert_eq!(fetch(to, "forwarded: for=3.3.3.3\r\n").await.status, 429);
    }
}

#[tokio::test]
async fn rightmost_address_that_is_not_a_proxy_is_the_client() {
    let address = peer().behind_x_forwarded_for(["127.0.0.1", "10.0.0.0/8"]).unwrap();
    let to = serve_one_each(address).await;
    assert_eq!(fetch(to, "x-forwarded-for: 9.9.9.9, 192.0.2.1, 10.0.0.1\r\n").await.status, 200);
    // The client changes what is left of its address, also in a header of its own.
    assert_eq!(fetch(to, "x-forwarded-for: 8.8.8.8, 192.0.2.1, 10.1.1.1\r\n").await.status, 429);
    let two = "x-forwarded-for: 7.7.7.7\r\nx-forwarded-for: 192.0.2.1\r\n";
    assert_eq!(fetch(to, two).await.status, 429);
    // The header that the proxies do not set is not read.
    assert_eq!(
        fetch(to, "x-forwarded-for: 192.0.2.1\r\nforwarded: for=6.6.6.6\r\n").await.status,
        429
    );
    assert_eq!(fetch(to, "x-forwarded-for: 192.0.2.2\r\n").await.status, 200);
    // Garbage is not an address: the proxy that sent it is the client.
    assert_eq!(fetch(to, "x-forwarded-for: 5.5.5.5, garbage\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-forwarded-for: 4.4.4.4, rubbish\r\n").await.status, 429);
}

#[tokio::test]
async fn forwarded_names_the_client_of_a_proxy() {
    let to = serve_one_each(peer().behind_forwarded(["127.0.0.1"]).unwrap()).await;
    assert_eq!(fetch(to, "forwarded: for=1.1.1.1;by=2.2.2.2, for=192.0.2.1\r\n").await.status, 200);
    assert_eq!(fetch(to, "forwarded: for=3.3.3.3, For=\"192.0.2.1:80\"\r\n").await.status, 429);
    assert_eq!(fetch(to, "forwarded: for=unknown\r\n").await.status, 200);
    assert_eq!(fetch(to, "forwarded: for=_hidden\r\n").await.status, 429);
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_are_one_client() {
    let to = serve_one_each(peer().behind_x_forwarded_for(["127.0.0.1"]).unwrap()).await;
    assert_eq!(fetch(to, "x-forwarded-for: 2001:db8:0:1::1\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-forwarded-for: 2001:db8:0:1:ffff::2\r\n").await.status, 429);
    assert_eq!(fetch(to, "x-forwarded-for: 2001:db8:0:2::1\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-forwarded-for: ::ffff:192.0.2.1\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-forwarded-for: 192.0.2.1\r\n").await.status, 429);

    let whole = peer().behind_x_forwarded_for(["127.0.0.1"]).unwrap().ipv6_prefix(128);
    let to = serve_one_each(whole).await;
    assert_eq!(fetch(to, "x-forwarded-for: 2001:db8::1\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-forwarded-for: 2001:db8::2\r\n").await.status, 200);
}

#[tokio::test]
async fn header_and_function_choose_the_client() {
    let key = ClientKey::header("x-api-key".parse().unwrap());
    let to = serve(service(RateLimitLayer::new(limiter("key", 1), key))).await;
    assert_eq!(fetch(to, "x-api-key: a\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-api-key: a\r\n").await.status, 429);
    assert_eq!(fetch(to, "x-api-key: b\r\n").await.status, 200);
    assert_eq!(fetch(to, "").await.status, 200);
    assert_eq!(fetch(to, "").await.status, 429, "requests without the header count together");

    let exempt = ClientKey::from_fn(|parts| parts.headers.get("x-limited").map(|_| String::new()));
    let to = serve(service(RateLimitLayer::new(limiter("some", 1), exempt))).await;
    assert_eq!(fetch(to, "x-limited: yes\r\n").await.status, 200);
    assert_eq!(fetch(to, "x-limited: yes\r\n").await.status, 429);
    let exempt = fetch(to, "").await;
    assert_eq!((exempt.status, exempt.header("ratelimit").as_str()), (200, ""));
}

#[tokio::test]
async fn unknown_client_is_a_mistake_and_not_a_shared_limit() {
    for key in [
        ClientKey::address(ClientAddress::of_peer(|_| None)),
        ClientKey::extension(|user: &u64| user.to_string()),
    ] {
        let to = serve(service(RateLimitLayer::new(limiter("x", 1), key))).await;
        assert_eq!(fetch(to, "").await.status, 500);
    }
}

#[tokio::test]
async fn extensions_of_the_response_say_why() {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    let everyone = ClientKey::from_fn(|_| Some(String::new()));
    let app = service(RateLimitLayer::new(limiter("all", 1), everyone));
    for allowed in [true, false] {
        let response = app.clone().oneshot(Request::new(Body::empty())).await.unwrap();
        let decision = response.extensions().get::<Decision>().unwrap();
        assert_eq!((decision.allowed, decision.limit), (allowed, 1));
    }
    let unknown = ClientKey::address(ClientAddress::of_peer(|_| None));
    let app = service(RateLimitLayer::new(limiter("x", 1), unknown));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    let error = response.extensions().get::<cache_core::Error>().unwrap();
    assert!(error.to_string().contains("into_make_service_with_connect_info"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killed_server_lets_requests_pass_or_refuses_them_as_the_name_says() {
    use cache_core::Caches;
    use cache_redis as _;
    use test_servers::Server as _;

    let server = test_servers::Redis::start().unwrap();
    // A slow machine is not an outage.
    let settings = format!(
        "[caches.default]\nbackend = 'redis'\nlocation = '{}'\ndeadline = '20s'\n\
         connect_deadline = '20s'\nbreaker.enabled = false",
        server.url()
    );
    let caches = Caches::from_toml(&settings).unwrap();
    let cache = caches.get("default").unwrap();
    let rule = RateLimit::gcra(1, MINUTE);
    let key = || ClientKey::address(peer());
    let allowing = Limiter::allow_on_failure(cache, "allowing", rule).unwrap();
    let allowing = serve(service(RateLimitLayer::new(allowing, key()))).await;
    let denying = Limiter::deny_on_failure(cache, "denying", rule).unwrap();
    let denying = serve(service(RateLimitLayer::new(denying, key()))).await;
    for to in [allowing, denying] {
        assert_eq!(fetch(to, "").await.status, 200);
        assert_eq!(fetch(to, "").await.status, 429);
    }
    server.kill();
    for _ in 0..3 {
        let reply = fetch(allowing, "").await;
        assert_eq!((reply.status, reply.header("ratelimit").as_str()), (200, ""));
        let reply = fetch(denying, "").await;
        assert_eq!((reply.status, reply.header("retry-after").as_str()), (503, "1"));
        assert_eq!(reply.header("ratelimit"), "");
    }
}
