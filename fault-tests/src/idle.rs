//! Connections that ended while nobody used them.

use std::time::Duration;

use test_servers::Server as _;
use tokio::runtime::Builder;

use crate::{
    NO_BREAKER, PATIENT, Stage, answered, blocking_promises, cache_on, cache_through, is_outage,
    network::behind_a_proxy,
};

blocking_promises!($ idle:
    an_idle_connection_that_the_network_forgot_costs_one_call,
    a_connection_that_was_closed_while_the_process_stood_still_costs_no_call,
);

fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A NAT or a firewall forgets what is idle, and drops what comes later without a word.
fn an_idle_connection_that_the_network_forgot_costs_one_call<S: Stage>() {
    runtime().block_on(async {
        let (_server, proxy, cache) =
            behind_a_proxy::<S>(&format!("deadline = \"400ms\"\n{NO_BREAKER}")).await;
        let strict = cache.strict();
        let patient = cache_through::<S>(&proxy, PATIENT).strict();
        let mut twin = async || drop(patient.get::<String>("k").await.unwrap());
        for _ in 0..3 {
            let found = answered(&mut twin, async || strict.get::<String>("k").await).await;
            assert_eq!(found.as_deref(), Some("value"));
            // The twin's is another, made only when it is asked again.
            patient.close().await.unwrap();
            proxy.swallow_open();
            // sleeps: a connection grows old by the clock that its server's answers have, too
            tokio::time::sleep(Duration::from_millis(1300)).await;
            assert!(is_outage(&strict.get::<String>("k").await.unwrap_err()));
            let found = answered(&mut twin, async || strict.get::<String>("k").await).await;
            assert_eq!(found.as_deref(), Some("value"));
        }
    });
}

/// As after `SIGSTOP`, or a laptop's lid: when the process goes on, nothing in it has heard of the end.
fn a_connection_that_was_closed_while_the_process_stood_still_costs_no_call<S: Stage>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT).strict();
    // Nothing of a runtime of one thread runs while it is not driven.
    let runtime = runtime();
    for _ in 0..5 {
        runtime.block_on(cache.set("k", &1, cache_core::Timeout::Default)).unwrap();
        assert_eq!(runtime.block_on(cache.incr("k", 1)).unwrap(), 2);
        server.kill();
        server.restart().unwrap();
        // sleeps: nobody looks at a connection that was in use just now, and a server may be back at once
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(runtime.block_on(cache.get::<i32>("k")).unwrap(), None);
    }
}
