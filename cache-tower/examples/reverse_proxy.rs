//! A caching reverse proxy: `cargo run --example reverse_proxy -- 127.0.0.1:8080 127.0.0.1:8000`.
//!
//! It listens at the first address, and sends what it cannot answer to the second one.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header::CONNECTION},
    response::Response,
};
use cache_core::{Cache, FetchSettings};
use cache_memory::Memory;
use cache_tower::http_cache::HttpCache;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addresses: Vec<String> = env::args().skip(1).collect();
    let [here, origin] = &addresses[..] else {
        return Err("expected two addresses: where to listen, and the origin".into());
    };
    // The time for which an expired response is kept: to serve it while a new one is loaded, after
    // an error, and to ask the origin whether it has changed.
    let grace = FetchSettings::with_grace(Duration::from_secs(3600));
    let cache = Cache::builder(Memory::new()).fetch(grace).tags(true).build("proxy")?;
    let layer = HttpCache::new(&cache).client_control(true).layer();

    // A connection for each request: the origin may close an idle one at any time, and a request
    // with a body cannot be sent again.
    let client =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http::<Body>();
    let origin = origin.clone();
    let forward = async move |mut request: Request| {
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        match format!("http://{origin}{path}").parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return status(StatusCode::BAD_REQUEST),
        }
        remove_connection_fields(request.headers_mut());
        match client.request(request).await {
            Ok(mut response) => {
                remove_connection_fields(response.headers_mut());
                response.map(Body::new)
            }
            Err(_) => status(StatusCode::BAD_GATEWAY),
        }
    };
    let listener = TcpListener::bind(here).await?;
    println!("listening at http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().fallback(forward).layer(layer)).await?;
    Ok(())
}

/// Removes the fields that are for one connection (RFC 9110, section 7.6.1).
fn remove_connection_fields(headers: &mut HeaderMap) {
    let listed: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(',').map(|name| name.trim().to_owned()))
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in
        ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"]
    {
        headers.remove(name);
    }
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
