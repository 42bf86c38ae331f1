//! Connections that ended while they were idle.

use std::time::Duration;

use test_servers::Server as _;
use tokio::runtime::Builder;

use crate::{
    Harness, NO_BREAKER, PATIENT, answered, blocking_promises, cache_on, cache_through, is_outage,
    network::cache_behind_proxy,
};

blocking_promises!($ idle:
    idle_connection_that_the_network_forgot_costs_one_call,
    connection_closed_while_the_process_was_suspended_costs_no_call,
);

fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A NAT or a firewall forgets an idle connection and silently drops its packets.
fn idle_connection_that_the_network_forgot_costs_one_call<S: Harness>() {
    runtime().block_on(async {
        let (_server, proxy, cache) =
            cache_behind_proxy::<S>(&format!("deadline = \"400ms\"\n{NO_BREAKER}")).await;
        let strict = cache.strict();
        let patient = cache_through::<S>(&proxy, PATIENT).strict();
        let mut control = async || drop(patient.get::<String>("k").await.unwrap());
        for _ in 0..3 {
            let found = answered(&mut control, async || strict.get::<String>("k").await).await;
            assert_eq!(found.as_deref(), Some("value"));
            // The control makes a new connection with its next call.
            patient.close().await.unwrap();
            proxy.swallow_open();
            // sleeps: the age of a connection depends on the system clock
            tokio::time::sleep(Duration::from_millis(1300)).await;
            assert!(is_outage(&strict.get::<String>("k").await.unwrap_err()));
            let found = answered(&mut control, async || strict.get::<String>("k").await).await;
            assert_eq!(found.as_deref(), Some("value"));
        }
    });
}

/// As after `SIGSTOP` or a laptop's sleep: when the process resumes, its runtime has not noticed
/// the close.
fn connection_closed_while_the_process_was_suspended_costs_no_call<S: Harness>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT).strict();
    // A current-thread runtime makes no progress outside of `block_on`.
    let runtime = runtime();
    for _ in 0..5 {
        runtime.block_on(cache.set("k", &1, cache_core::Timeout::Default)).unwrap();
        assert_eq!(runtime.block_on(cache.incr("k", 1)).unwrap(), 2);
        server.kill();
        server.restart().unwrap();
        // sleeps: a connection is checked only if it was idle for a moment, and the restart may be
        // fast
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(runtime.block_on(cache.get::<i32>("k")).unwrap(), None);
    }
}
