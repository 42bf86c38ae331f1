//! A process without free threads or descriptors: calls fail with typed errors within their
//! deadlines, and existing connections still work.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::{fs::File, os::fd::AsRawFd as _, time::Duration};

use cache_core::{BlockingCache, Cache, Caches, ErrorKind, Result, Timeout};
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;
use fork_tests::alone;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use test_servers::{Memcached, Package, Redis, Server, require};
use tokio::runtime::{Builder, Runtime};

/// A user without processes. The limit of processes does not apply to root.
const USER: Option<u32> = Some(54_321);

const PATIENT: &str = "deadline = '20s'\nconnect_deadline = '20s'\n";

fn cache(backend: &str, location: &str, more: &str) -> Cache {
    let text = format!("[caches.default]\nbackend = '{backend}'\nlocation = '{location}'\n{more}");
    Caches::from_toml(&text).unwrap().get("default").unwrap().strict()
}

/// A server, the name of its backend, and a function from a host name to its location.
type Store = (Box<dyn Server>, &'static str, Box<dyn Fn(&str) -> String>);

/// Starts a server for each store over a network.
fn stores() -> [Store; 2] {
    let (redis, memcached) = (Redis::start().unwrap(), Memcached::start().unwrap());
    let (one, other) = (redis.port(), memcached.port());
    [
        (Box::new(redis), "redis", Box::new(move |host| format!("redis://{host}:{one}"))),
        (Box::new(memcached), "memcached", Box::new(move |host| format!("{host}:{other}"))),
    ]
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Aborts the process at any later panic, even if the panic is caught.
fn no_panics() {
    std::panic::set_hook(Box::new(|it| {
        eprintln!("{it}");
        std::process::abort();
    }));
}

fn no_more_threads() {
    setrlimit(Resource::Nproc, Rlimit { current: Some(1), maximum: Some(1) }).unwrap();
    std::thread::Builder::new().spawn(|| ()).expect_err("the process must not get another thread");
}

/// Limits the number of free descriptors, or removes the limit.
fn leave_descriptors(count: Option<usize>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let set = |current| setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    set(maximum);
    if let Some(count) = count {
        // The system gives out the lowest descriptors first.
        let files: Vec<_> = (0..=count).map(|_| File::open("/dev/null").unwrap()).collect();
        set(Some(files[count].as_raw_fd().try_into().unwrap()));
    }
}

fn is_refused(res: Result<Option<i32>>) {
    let error = res.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut), "{error}");
}

fn works(cache: &BlockingCache) {
    cache.set("k", &7, Timeout::Default).unwrap();
    assert_eq!(cache.get::<i32>("k").unwrap(), Some(7));
}

/// Calls a server that does not answer, and checks that the deadline ends each call.
fn deadlines_end_calls(cache: &Cache, runtime: &Runtime) {
    // Twice: an earlier call must not keep a later one from its deadline.
    for _ in 0..2 {
        let call = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(30), cache.get::<i32>("k")).await
        });
        is_refused(call.expect("the deadline ends the call"));
    }
}

#[test]
fn calls_without_free_threads_succeed_or_fail_within_their_deadline() {
    // Installing needs the permissions of this user.
    require(&[Package::Redis, Package::Memcached]);
    alone(USER, || {
        let stores = stores();
        let runtime = runtime();
        no_panics();
        no_more_threads();
        for (server, backend, place) in &stores {
            let here = cache(backend, &place("127.0.0.1"), PATIENT);
            runtime.block_on(here.set("k", &1, Timeout::Default)).unwrap();
            assert_eq!(runtime.block_on(here.get::<i32>("k")).unwrap(), Some(1), "{backend}");
            // Looking up a name needs a thread, and so does a caller without a runtime.
            let named = cache(backend, &place("localhost"), PATIENT);
            is_refused(runtime.block_on(named.get::<i32>("k")));
            is_refused(here.blocking().get::<i32>("k"));
            let hasty = cache(backend, &place("127.0.0.1"), "deadline = '200ms'\n");
            server.freeze();
            deadlines_end_calls(&hasty, &runtime);
            server.thaw();
        }
    });
}

#[test]
fn check_of_memory_that_cannot_receive_messages_is_an_error() {
    // Installing needs the permissions of this user.
    require(&[Package::Redis]);
    alone(USER, || {
        let redis = Redis::start().unwrap();
        let url = format!("redis://127.0.0.1:{}", redis.port());
        let runtime = runtime();
        no_panics();
        no_more_threads();
        let on_bus = cache("memory", "main", &format!("bus = '{url}'\n{PATIENT}"));
        let near = cache("redis", &url, &format!("near = {{}}\n{PATIENT}"));
        for cache in [on_bus, near] {
            let check = runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(30), cache.check()).await
            });
            let error = check.expect("the check ends").unwrap_err().to_string();
            assert!(error.contains("cannot start the library's runtime"), "{error}");
        }
    });
}

#[test]
fn connections_made_before_threads_ran_out_still_work() {
    // Installing needs the permissions of this user.
    require(&[Package::Redis, Package::Memcached]);
    alone(USER, || {
        let stores = stores();
        no_panics();
        let caches: Vec<_> = stores
            .iter()
            .map(|(_, backend, place)| cache(backend, &place("localhost"), PATIENT).blocking())
            .collect();
        caches.iter().for_each(works);
        no_more_threads();
        caches.iter().for_each(works);
    });
}

#[test]
fn calls_without_free_descriptors_succeed_or_fail_within_their_deadline() {
    alone(None, || {
        let stores = stores();
        let runtime = runtime();
        no_panics();
        for (server, backend, place) in &stores {
            // Enough for a connection, but too few for a runtime of the library.
            leave_descriptors(Some(2));
            let cache = cache(backend, &place("127.0.0.1"), "deadline = '1s'\n");
            while runtime.block_on(cache.set("k", &1, Timeout::Default)).is_err() {}
            leave_descriptors(None);
            server.freeze();
            leave_descriptors(Some(0));
            deadlines_end_calls(&cache, &runtime);
            let error = cache.blocking().get::<i32>("k").unwrap_err();
            assert!(error.to_string().contains("cannot start the library's runtime"), "{error}");
            leave_descriptors(None);
            server.thaw();
        }
    });
}
