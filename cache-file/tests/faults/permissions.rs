//! Permissions: files are private whatever the umask, and a directory that other users can write to
//! is refused.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use cache_core::{ErrorKind, secs};

use crate::{
    child::Child,
    place::{Place, cache},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn all_below(path: &Path) -> Vec<PathBuf> {
    let mut res = vec![path.to_owned()];
    if path.is_dir() {
        res.extend(fs::read_dir(path).unwrap().flat_map(|it| all_below(&it.unwrap().path())));
    }
    res
}

#[test]
fn directories_are_0700_and_files_0600_with_any_umask() {
    for umask in ["000", "022", "077", "277", "777"] {
        let place = Place::new();
        let path = place.path.join("a/b/c");
        for line in Child::start_in(&format!("umask {umask}"), "write 2", &path, "").all() {
            assert!(!line.contains("error"), "umask {umask}: {line}");
        }
        let all = all_below(&place.path);
        assert!(all.len() > 8);
        for it in all {
            let expected = if it.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&it), expected, "umask {umask}: {}", it.display());
        }
    }
}

#[tokio::test]
async fn empty_directory_becomes_private() {
    let place = Place::new();
    fs::create_dir(&place.path).unwrap();
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o755)).unwrap();
    cache(&place.path, "").set("k", &1, secs(60)).await.unwrap();
    assert_eq!(mode(&place.path), 0o700);
}

/// The read opens the directory, and the first write makes it private.
#[tokio::test]
async fn empty_directory_becomes_private_at_the_first_write_after_a_read() {
    let place = Place::new();
    fs::create_dir(&place.path).unwrap();
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o755)).unwrap();
    let cache = cache(&place.path, "");
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    cache.set("k", &1, secs(60)).await.unwrap();
    assert_eq!(mode(&place.path), 0o700);
}

#[tokio::test]
async fn directory_with_foreign_files_keeps_its_permissions() {
    let place = Place::new();
    fs::create_dir(&place.path).unwrap();
    fs::write(place.path.join("README"), "mine").unwrap();
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o755)).unwrap();
    cache(&place.path, "").set("k", &1, secs(60)).await.unwrap();
    assert_eq!(mode(&place.path), 0o755);
}

#[tokio::test]
async fn directory_that_others_can_write_to_is_refused_until_chmod() {
    for bad in [0o777, 0o1777, 0o770, 0o702] {
        let place = Place::new();
        fs::create_dir(&place.path).unwrap();
        fs::set_permissions(&place.path, fs::Permissions::from_mode(bad)).unwrap();
        let cache = cache(&place.path, "");
        for error in [
            cache.set("k", &1, secs(60)).await.unwrap_err(),
            cache.get::<i32>("k").await.unwrap_err(),
            cache.check().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("chmod go-w"), "{bad:o}: {error}");
        }
        assert_eq!(fs::read_dir(&place.path).unwrap().count(), 0, "{bad:o}");
        fs::set_permissions(&place.path, fs::Permissions::from_mode(0o700)).unwrap();
        cache.set("k", &1, secs(60)).await.unwrap();
    }
}

#[tokio::test]
async fn folder_that_others_can_write_to_is_refused() {
    let place = Place::new();
    let first = cache(&place.path, "");
    first.set("k", &1, secs(60)).await.unwrap();
    let folder = place.file().parent().unwrap().to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let error = cache(&place.path, "").set("k", &2, secs(60)).await.unwrap_err();
    assert!(error.to_string().contains("folder: "), "{error}");
}

/// Only root can change the owner.
#[tokio::test]
async fn directory_of_another_user_is_refused() {
    let place = Place::new();
    fs::create_dir(&place.path).unwrap();
    if chown(&place.path, Some(12345), None).is_err() {
        return;
    }
    let error = cache(&place.path, "").set("k", &1, secs(60)).await.unwrap_err();
    assert!(error.to_string().contains("another user"), "{error}");
}
