//! A read-only file, and a process that may open no more files.

use std::fs::File;

use cache_core::{ErrorKind, Timeout};

use crate::{
    child::{is_child, is_child_on_a_small_disk},
    support::{NO_BREAKER, PATIENT, cache, text, until},
};

/// Fails while a file there is open for writing.
async fn remount(how: &str) {
    let folder = std::env::current_dir().unwrap();
    until(how, async || {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-o", how]).arg(&folder).output().unwrap().status.success()
    })
    .await;
}

/// Mounts the disk read-only, which holds for root, too.
#[test]
fn read_only_file_is_an_error_until_it_is_writable() {
    let mounted = tempfile::tempdir().unwrap();
    let name = "limits::read_only_file_is_an_error_until_it_is_writable";
    if !is_child_on_a_small_disk(name, mounted.path(), "8m") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = text(&std::env::current_dir().unwrap().join("cache.db"));
        let open = || cache(&path, &format!("{PATIENT}{NO_BREAKER}"));
        open().strict().set("k", &1, Timeout::Default).await.unwrap();
        remount("remount,ro").await;
        let cache = open();
        let error = cache.strict().set("k", &"marked", Timeout::Default).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let said = format!("{error}");
        assert!(said.contains("cache.db") && said.contains("writable"), "{said}");
        assert!(!format!("{error:?}").contains("marked"));
        assert!(cache.strict().check().await.is_err());
        cache.set("k", &2, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
        remount("remount,rw").await;
        until("it works again", async || {
            cache.strict().set("k", &3, Timeout::Default).await.is_ok()
        })
        .await;
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(3));
    });
}

#[test]
fn too_many_open_files_are_an_error_until_some_are_closed() {
    let name = "limits::too_many_open_files_are_an_error_until_some_are_closed";
    if !is_child(name, &["prlimit", "--nofile=64"]) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let path = text(&folder.path().join("cache.db"));
        let cache = cache(&path, &format!("{PATIENT}{NO_BREAKER}"));
        let strict = cache.strict();
        let mut hogs = Vec::new();
        while let Ok(it) = File::open("/dev/null") {
            hogs.push(it);
        }
        let error = strict.set("k", &"marked", Timeout::Default).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let said = format!("{error}");
        assert!(said.contains("cache.db") && said.contains("cannot open"), "{said}");
        assert!(!format!("{error:?}").contains("marked"));
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "it fails open");
        hogs.clear();
        until("it works again", async || strict.set("k", &1, Timeout::Default).await.is_ok()).await;
        assert_eq!(strict.get::<i32>("k").await.unwrap(), Some(1));
        // Open connections stay open and work.
        while let Ok(it) = File::open("/dev/null") {
            hogs.push(it);
        }
        for i in 0..100 {
            strict.set("k", &i, Timeout::Default).await.unwrap();
            assert_eq!(strict.get::<i32>("k").await.unwrap(), Some(i));
        }
        hogs.clear();
    });
}
