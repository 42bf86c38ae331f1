//! `clear` removes a namespace, `clear_store` all entries, and neither touches what is another's.

use std::{fs, os::unix::fs::symlink};

use cache_core::{
    secs,
    store::{Expiry, Namespace, SetMode},
};

use crate::place::{Place, cache, store};

#[tokio::test]
async fn clear_removes_one_namespace_in_all_folders() {
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
async fn foreign_files_and_links_are_left_alone() {
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
        // Like ours, but for its length.
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

/// What is where spare files would be is as foreign as anything else.
#[tokio::test]
async fn a_foreign_file_or_link_named_spare_is_left_alone_and_in_nobodys_way() {
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

/// Somebody put links where entries would be: nothing outside is read, written or removed.
#[tokio::test]
async fn links_in_the_place_of_entries_and_folders_are_not_followed() {
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

/// Nor are they in the way of what makes room.
#[tokio::test]
async fn links_in_the_place_of_entries_do_not_keep_the_bounds_from_holding() {
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

/// One place where nothing can be removed does not keep the rest; and it is told.
#[tokio::test]
async fn clear_goes_on_behind_what_it_cannot_remove() {
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
