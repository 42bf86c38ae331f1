//! A small web service: users in `SQLite`, and a cache in front of each thing that is slow.
//!
//! ```text
//! cargo run -p web-service
//! ```
//!
//! Three variables of the environment configure it: `LISTEN` (`127.0.0.1:3000`), `DATABASE`
//! (`users.sqlite`) and `SETTINGS`, the file of the caches (by default `settings.toml` of this
//! folder, as it was compiled in).

mod error;
mod operations;
mod service;
mod sessions;
mod state;
mod users;

use std::{env, io::Write as _, net::SocketAddr, process::ExitCode};

use anyhow::{Context as _, Result};
use cache_core::{Caches, install};
use cache_db as _;
use cache_memory as _;
use cache_redis as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{net::TcpListener, signal};

use crate::{state::State, users::Users};

const SETTINGS: &str = include_str!("../settings.toml");

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("web-service: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    // The recorder is installed before the caches, which register their metrics.
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let caches = install(match env::var("SETTINGS") {
        Ok(file) => Caches::from_file(file)?,
        Err(_) => Caches::from_toml(SETTINGS)?,
    })?;
    // A service that starts although a cache is down answers from the database.
    let report = caches.check().await;
    if !report.is_ok() {
        eprintln!("web-service: {report}");
    }

    let database = env::var("DATABASE").unwrap_or_else(|_| "users.sqlite".to_owned());
    let users = Users::open(&database).with_context(|| format!("cannot open {database}"))?;
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener =
        TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;

    let service = service::service(State { caches, metrics, users })?;
    // The rate limit asks for the address of the client.
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stopped()).await?;
    // After the last request: writes what is buffered, and says goodbye to the servers.
    caches.close().await?;
    println!("stopped");
    Ok(())
}

/// Ends at Ctrl-C, or when the process receives the signal to terminate.
async fn stopped() {
    let interrupt = async { signal::ctrl_c().await.ok() };
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
