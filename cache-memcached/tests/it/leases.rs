//! Leases of loads, which are compared by the CAS number that the server returned for them.

use std::{convert::Infallible, time::Duration};

use cache_core::{
    Cache,
    store::{Expected, Expiry, SetMode, TtlUpdate},
};
use test_servers::{Memcached, Server as _};

use crate::{
    raw::Raw,
    support::{PATIENT, at, cache, raw, servers, store, stored},
};

const LIFE: Expiry = Expiry::After(Duration::from_secs(600));

/// The reads of the server, and its compare-and-swaps that succeeded.
fn counts(raw: &mut Raw) -> (u64, u64) {
    let (mut reads, mut swaps) = (0, 0);
    let mut line = raw.ask("stats").0;
    while line != "END" {
        let mut words = line.split(' ').skip(1);
        let (name, number) = (words.next(), words.next().and_then(|it| it.parse().ok()));
        match name {
            Some("cmd_get") => reads = number.unwrap(),
            Some("cas_hits") => swaps = number.unwrap(),
            _ => {}
        }
        line = raw.line();
    }
    (reads, swaps)
}

fn fenced(servers: &[Memcached]) -> Cache {
    let fenced = format!("{PATIENT}[caches.default.fetch]\nfenced = true");
    cache(&at(servers), &fenced).strict()
}

#[tokio::test]
async fn loaded_value_replaces_its_lease_without_a_read() {
    let servers = servers(1);
    let (cache, mut raw) = (fenced(&servers), raw(&servers[0]));
    let mut fewest = u64::MAX;
    for n in 0..20 {
        let before = counts(&mut raw);
        let load = move |_| async move { Ok::<_, Infallible>(n) };
        let key = format!("k{n}");
        assert_eq!(cache.fetch(&key).load(load).await.unwrap(), n);
        let after = counts(&mut raw);
        assert_eq!(after.1 - before.1, 1, "compare-and-swaps of one load");
        // Now and then, the generation is read as well.
        fewest = fewest.min(after.0 - before.0);
        assert_eq!(cache.get(&key).await.unwrap(), Some(n));
    }
    assert_eq!(fewest, 1, "only the first read of the key");
}

#[tokio::test]
async fn lease_that_another_process_has_replaced_is_not_taken_for_ours() {
    let servers = servers(1);
    let ours = store(&at(&servers), PATIENT);
    let theirs = store(&at(&servers), PATIENT);
    let (seen, new) = (Expected::value(b"lease"), TtlUpdate::New(LIFE));
    for value in ["other", "lease"] {
        let add = ours.set(":1:k", "lease".into(), LIFE, SetMode::IfAbsent);
        assert!(add.await.unwrap());
        assert!(theirs.set(":1:k", value.into(), LIFE, SetMode::IfPresent).await.unwrap());
        let is_same = value == "lease";
        let set = ours.compare_and_set(":1:k", seen, "loaded".into(), new).await.unwrap();
        assert_eq!(set, is_same);
        let left = if is_same { "loaded" } else { value };
        assert_eq!(ours.get(":1:k").await.unwrap().unwrap(), left);
        assert!(theirs.delete(":1:k").await.unwrap());
    }
}

/// A restarted server counts its CAS numbers from one again.
#[tokio::test]
async fn lease_of_a_restarted_server_is_read_again() {
    let servers = servers(1);
    let ours = store(&at(&servers), PATIENT);
    ours.set(":1:first", "v".into(), LIFE, SetMode::Always).await.unwrap();
    let add = ours.set(":1:k", "lease".into(), LIFE, SetMode::IfAbsent).await;
    assert!(add.unwrap());
    let generation = raw(&servers[0]).get("!:").unwrap();
    let stamp = |raw: &mut Raw| raw.ask(&format!("mg {generation}::1:k c")).0;
    let before = stamp(&mut raw(&servers[0]));
    servers[0].restart().unwrap();
    // The same names and the same CAS number, with another value.
    let mut raw = raw(&servers[0]);
    raw.set("!:", &generation);
    while stamp(&mut raw) != before {
        raw.set(&format!("{generation}::1:k"), "other");
    }
    let (seen, new) = (Expected::value(b"lease"), TtlUpdate::New(LIFE));
    loop {
        match ours.compare_and_set(":1:k", seen, "loaded".into(), new).await {
            Ok(set) => break assert!(!set),
            // The connection to the former server.
            Err(error) => assert!(error.kind().fails_open(), "{error}"),
        }
    }
    assert_eq!(stored(&mut raw, "", "k").unwrap(), "other");
}
