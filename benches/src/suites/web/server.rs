//! A service on loopback, and the requests of its clients.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use axum::Router;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use super::client::Client;
use crate::harness::{Side, Took, process_time};

/// The number of connections that send requests at once.
pub(super) const CONNECTIONS: usize = 16;

/// A service that runs until it is dropped.
pub(super) struct Server {
    name: &'static str,
    runtime: Runtime,
    address: SocketAddr,
    /// The request, word for word.
    request: Arc<[u8]>,
}

impl Server {
    /// Starts a service; `request` is sent to it again and again.
    pub(super) fn start(name: &'static str, request: &[u8], service: Router) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async { axum::serve(listener, service).await });
        Ok(Self { name, runtime, address, request: request.into() })
    }

    /// Returns the service as a contender whose requests come over all connections.
    pub(super) fn side(&self) -> Side<'_> {
        Side::measured(self.name, |count| self.send(count).expect("the service replies").0)
    }

    /// Sends this many requests over all connections, and returns how long each took.
    pub(super) fn times(&self, count: u64) -> Result<Vec<Duration>> {
        Ok(self.send(count)?.1)
    }

    /// The time does not include that of making connections.
    fn send(&self, count: u64) -> Result<(Took, Vec<Duration>)> {
        let connections = CONNECTIONS as u64;
        let share = |place: u64| count / connections + u64::from(place < count % connections);
        self.runtime.block_on(async {
            let mut ready = Vec::new();
            for place in 0..connections.min(count) {
                ready.push((Client::connect(self.address).await?, share(place)));
            }
            let (start, processors) = (Instant::now(), process_time());
            let mut running = JoinSet::new();
            for (mut client, requests) in ready {
                let request = Arc::clone(&self.request);
                running.spawn(async move {
                    let mut times = Vec::new();
                    for _ in 0..requests {
                        let start = Instant::now();
                        client.send(&request).await?;
                        times.push(start.elapsed());
                    }
                    anyhow::Ok(times)
                });
            }
            let all = running.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
            let processors = Some(process_time().saturating_sub(processors));
            let took = Took { time: start.elapsed(), processors };
            Ok((took, all.into_iter().flatten().collect()))
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}
