//! Changes that other changes of the same key delay for too long. The server answers meanwhile, so
//! the breaker ignores them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::pin,
    thread,
    time::Duration,
};

use cache_core::{
    ErrorKind,
    layer::BreakerState,
    secs,
    store::{Expiry, SetMode},
    testing::FakeClock,
};
use fault_tests::slowly_by;
use futures_util::{FutureExt as _, future::join_all};
use test_servers::{Proxy, Server as _};

use crate::{
    raw::Raw,
    support::{PATIENT, at, cache, cache_by, raw, servers, stored_key},
};

/// The first change is held on its way to the server, which answers on another connection. The
/// clock of the deadlines is moved by hand.
#[tokio::test]
async fn increment_with_a_too_long_wait_is_ignored_by_the_breaker() {
    let servers = servers(1);
    let proxy = Proxy::to(servers[0].address()).unwrap();
    let clock = FakeClock::new();
    let more = "deadline = \"1s\"\n[caches.default.options]\nconnections = 2\n";
    let cache = cache_by(&clock, &[proxy.address().to_string()], more);
    // Keys without a version need no generation.
    let store = cache.backend().clone();
    let set = async || {
        let life = Expiry::After(Duration::from_secs(600));
        let set = store.set("n", "0".into(), life, SetMode::Always);
        assert!(slowly_by(&clock, set).await.unwrap());
    };
    set().await;
    let mut other = None;
    for key in (0..64).map(|i| format!("k{i}")) {
        let before = proxy.accepted();
        slowly_by(&clock, store.get(&key)).await.unwrap();
        if proxy.accepted() > before {
            other = Some(key);
            break;
        }
    }
    let other = other.unwrap();
    // Now only the connection of the counter is open.
    store.close().await.unwrap();
    set().await;
    proxy.hold_open();
    let mut first = pin!(store.incr("n", 1, None));
    assert!(first.as_mut().now_or_never().is_none());
    while proxy.held() == 0 {
        // sleeps: the proxy has no event for this
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut waiting = pin!(join_all((0..50).map(|_| store.incr("n", 1, None))));
    assert!(waiting.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(600));
    slowly_by(&clock, store.get(&other)).await.unwrap();
    // More than the deadline in all, and less than half of it since the server has answered.
    clock.advance(Duration::from_millis(450));
    for answer in waiting.await {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(!error.counts_for_breaker(), "{error}");
    }
    proxy.release();
    let _ = first.await;
    slowly_by(&clock, store.get(&other)).await.unwrap();
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
}

/// Starts a proxy that writes a key before each request that it passes on. The clock moves with
/// each request.
fn meddle(server: SocketAddr, key: &str, clock: &FakeClock) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (key, clock) = (key.to_owned(), clock.clone());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut requests, mut to_server) =
                (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut replies, mut to_client) =
                (to_server.try_clone().unwrap(), requests.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut replies, &mut to_client));
            let (mut raw, key, clock) = (Raw::to(server), key.clone(), clock.clone());
            thread::spawn(move || {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(len @ 1..) = requests.read(&mut bytes) {
                    raw.set(&key, "-5");
                    clock.advance(Duration::from_millis(20));
                    to_server.write_all(&bytes[..len]).unwrap();
                }
            });
        }
    });
    at
}

/// Another program writes the key between each read and the write after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_conflicts_are_ignored_by_the_breaker() {
    let servers = servers(1);
    let direct = cache(&at(&servers), PATIENT).strict();
    direct.set("n", &-1, secs(600)).await.unwrap();
    let key = stored_key(&mut raw(&servers[0]), "", "n");
    let clock = FakeClock::new();
    let proxy = meddle(servers[0].address(), &key, &clock);
    let cache = cache_by(&clock, &[proxy.to_string()], "deadline = \"600ms\"").strict();
    for error in [
        slowly_by(&clock, cache.incr("n", 1)).await.map(drop).unwrap_err(),
        slowly_by(&clock, cache.pop::<i64>("n")).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(!error.counts_for_breaker(), "{error}");
    }
}
