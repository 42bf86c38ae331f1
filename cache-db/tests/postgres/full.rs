//! A server whose disk is full.

use std::{fs, path::Path, process::Command};

use cache_core::{Cache, Error, ErrorKind, layer::BreakerState, secs};
use test_servers::{Postgres, Server as _};

use crate::{
    child::is_child,
    support::{PATIENT, cache, raw, until},
};

const TEST: &str = "full::full_disk_refuses_writes_keeps_reading_and_recovers";

fn is_full(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(error.to_string().contains("disk is full"), "{error}");
}

/// Bytes that the server cannot compress.
fn value() -> String {
    let mut dice = 7_u64;
    let mut next = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        format!("{dice:016x}")
    };
    (0..6000).map(|_| next()).collect()
}

/// Writes until the disk is full. Returns how many keys were written.
async fn fill(cache: &Cache) -> usize {
    let value = value();
    for i in 0..1000 {
        if let Err(error) = cache.set(&format!("fill{i}"), &value, secs(600)).await {
            is_full(&error);
            return i;
        }
    }
    panic!("it is never full");
}

async fn serves_and_recovers(url: &str, ballast: &Path) {
    let cache = cache(url, PATIENT).strict();
    cache.set("k", &1, secs(600)).await.unwrap();
    let written = fill(&cache).await;
    assert!(written > 10, "{written}");
    for _ in 0..20 {
        is_full(&cache.set("more", &value(), secs(600)).await.unwrap_err());
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "reads go on");
    }
    assert_eq!(cache.stats().breaker, Some(BreakerState::Closed));
    assert!(cache.delete("fill0").await.unwrap());
    cache.clear().await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    fs::remove_file(ballast).unwrap();
    until("there is room again", async || cache.set("more", &value(), secs(600)).await.is_ok())
        .await;
    assert!(cache.has_key("more").await.unwrap());
    cache.check().await.unwrap();
}

/// On a disk of its own, if mounting is allowed, which holds only the table.
#[test]
fn full_disk_refuses_writes_keeps_reading_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=24m tmpfs \"$0\"";
    let path = folder.path().to_str().unwrap();
    if std::env::var_os(crate::child::CHILD).is_none() {
        let mut may_mount = Command::new("unshare");
        may_mount.args(["--mount", "sh", "-c", mount, path]);
        if !may_mount.output().is_ok_and(|it| it.status.success()) {
            eprintln!(
                "mounting is not allowed here; the codes of the server are tried in `refused`"
            );
            return;
        }
    }
    let script = format!("{mount} && cd \"$0\" && exec \"$@\"");
    if is_child(TEST, &["unshare", "--mount", "sh", "-c", &script, path]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let here = std::env::current_dir().unwrap();
        runtime.block_on(on_a_small_disk(&here));
    }
}

async fn on_a_small_disk(disk: &Path) {
    // Its vacuum may make room at any time.
    let server = Postgres::start_with(&["autovacuum=off"]).unwrap();
    let space = disk.join("space");
    fs::create_dir(&space).unwrap();
    // The server runs as a user of its own.
    let owner = fs::metadata(server.folder().join("data")).unwrap();
    let (uid, gid) = {
        use std::os::unix::fs::MetadataExt as _;
        (owner.uid(), owner.gid())
    };
    std::os::unix::fs::chown(&space, Some(uid), Some(gid)).unwrap();
    std::os::unix::fs::chown(disk, Some(uid), Some(gid)).unwrap();
    let client = raw(&server).await;
    client
        .batch_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", space.display()))
        .await
        .unwrap();
    let url = format!("{}?options=-c%20default_tablespace%3Dsmall", server.url());
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    serves_and_recovers(&url, &ballast).await;
}
