//! `clear` removes a namespace and `clear_store` all entries. Both keep foreign files.

use std::{fs, os::unix::fs::symlink};

use cache_core::{
    secs,
    store::{Expiry, Namespace, SetMode},
};

use crate::place::{Place, cache, store};

#[tokio::test]
async fn clear_removes_one_namespace_from_all_folders() {
    let place = Place::new();
    let store = store(&place.path, "");
    for n in 0..600 {
        for prefix in ["shop", "shop:eu", ""] {
            let key = format!("{prefix}:1:{n}");
            store.set(&key, "1".into(), Expiry::Never, SetMode::Always).await.unwrap();
        }
    }
    store.clear(&Namespace::new("shop").unwrap()).await.unwrap();
    for n in 0..600 {
        for (prefix, stays) in [("shop", false), ("shop:eu", true), ("", true)] {
            let key = format!("{prefix}:1:{n}");
            assert_eq!(store.has(&key).await.unwrap(), stays, "{key}");
        }
    }
    store.clear_store().await.unwrap();
    assert!(place.files().is_empty());
}

#[tokio::test]
async fn foreign_files_and_links_stay() {
    let place = Place::new();
    let cache = cache(&place.path, "max_entries = 5");
    cache.set("k", &1, secs(60)).await.unwrap();
    let folder = place.file().parent().unwrap().to_owned();
    let outside = place.outer().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let foreign = [
        place.path.join("README"),
        folder.join("notes.txt"),
        folder.join(".hidden"),
        // Like the name of an entry, but one digit too short.
        folder.join("0123456789abcdef0123456789abc"),
    ];
    for file in &foreign {
        fs::write(file, "foreign").unwrap();
    }
    fs::create_dir(place.path.join("zz")).unwrap();
    let link = folder.join("link");
    symlink(&outside, &link).unwrap();
    for n in 0..50 {
        cache.set(&n.to_string(), &n, secs(60)).await.unwrap();
    }
    cache.clear().await.unwrap();
    cache.clear_store().await.unwrap();
    for file in &foreign {
        assert_eq!(fs::read_to_string(file).unwrap(), "foreign");
    }
    assert!(place.path.join("zz").exists() && link.is_symlink());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
}

#[tokio::test]
async fn foreign_file_or_link_named_spare_stays_and_causes_no_error() {
    for is_link in [false, true] {
        let place = Place::new();
        let cache = cache(&place.path, "max_entries = 5");
        cache.set("k", &1, secs(60)).await.unwrap();
        let spare = place.path.join("spare");
        if is_link {
            symlink(place.outer(), &spare).unwrap();
        } else {
            fs::write(&spare, "foreign").unwrap();
        }
        for n in 0..50 {
            cache.set(&n.to_string(), &n, secs(60)).await.unwrap();
        }
        assert!(cache.delete("49").await.unwrap());
        cache.clear().await.unwrap();
        cache.clear_store().await.unwrap();
        assert!(place.files().is_empty());
        assert!(spare.is_symlink() == is_link && spare.exists());
        assert_eq!(fs::read_dir(place.outer()).unwrap().count(), 1);
    }
}

/// The store must not read, write or remove anything outside of its directory.
#[tokio::test]
async fn link_with_the_name_of_an_entry_or_folder_is_not_followed() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.set("k", &1, secs(60)).await.unwrap();
    let (file, outside) = (place.file(), place.outer().join("outside"));
    fs::rename(&file, &outside).unwrap();
    let before = fs::read(&outside).unwrap();
    symlink(&outside, &file).unwrap();
    for error in [
        cache.get::<i32>("k").await.unwrap_err(),
        cache.set("k", &2, secs(60)).await.unwrap_err(),
        cache.incr("k", 1).await.unwrap_err(),
        cache.delete("k").await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    assert_eq!(fs::read(&outside).unwrap(), before);

    let folder = file.parent().unwrap();
    cache.close().await.unwrap();
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir(place.outer().join("elsewhere")).unwrap();
    symlink(place.outer().join("elsewhere"), folder).unwrap();
    assert!(cache.set("k", &2, secs(60)).await.is_err());
    assert_eq!(fs::read_dir(place.outer().join("elsewhere")).unwrap().count(), 0);
}

#[tokio::test]
async fn store_stays_within_its_bounds_despite_links_named_like_entries() {
    let place = Place::new();
    let cache = cache(&place.path, "max_entries = 5");
    let mut links = Vec::new();
    for n in 0..40 {
        cache.set(&n.to_string(), &n, secs(60)).await.unwrap();
        let folder = place.files().into_iter().find(|it| !it.is_symlink()).unwrap();
        let link = folder.parent().unwrap().join(format!("{n:030x}"));
        symlink(place.outer().join("outside"), &link).unwrap();
        links.push(link);
    }
    for n in 0..200 {
        cache.set(&n.to_string(), &n, secs(60)).await.unwrap();
    }
    assert!(links.iter().all(|it| it.is_symlink()));
    let entries = place.files().len() - links.len();
    assert!(entries <= 5, "{entries}");
}

#[tokio::test]
async fn clear_continues_after_an_entry_that_cannot_be_removed_and_returns_its_error() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    for n in 0..300 {
        cache.set(&n.to_string(), &n, secs(60)).await.unwrap();
    }
    let mut files = place.files();
    files.sort();
    fs::remove_file(&files[0]).unwrap();
    symlink(place.outer().join("outside"), &files[0]).unwrap();
    assert!(cache.clear().await.unwrap_err().to_string().contains("symbolic link"));
    assert_eq!(place.files(), [files[0].clone()]);
    cache.set("k", &1, secs(60)).await.unwrap();
    assert!(cache.clear_store().await.unwrap_err().to_string().contains("symbolic link"));
    assert_eq!(place.files(), [files[0].clone()]);
}
