//! Errors of the file system name the directory of the store, because a program may have several.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use cache_core::{Error, ErrorKind, secs};

use crate::{
    child::{Child, pattern},
    disk::Mount,
    place::{Place, cache, of_toml, still_clock, toml},
};

fn assert_named(error: &Error, words: &str, place: &Place) {
    let (text, directory) = (error.to_string(), format!("directory: {}", place.path.display()));
    assert!(text.contains(words), "{words:?} in {text}");
    assert_eq!(text.matches(&directory).count(), 1, "{words}: {text}");
}

/// Changes the files of a store with one entry, then reads and writes it.
#[tokio::test]
async fn errors_of_unexpected_files_name_the_directory() {
    type Harm = (&'static str, fn(&Place));
    let harms: [Harm; 9] = [
        ("unexpected symbolic link", |it| {
            let file = it.file();
            fs::remove_file(&file).unwrap();
            symlink("/etc/passwd", file).unwrap();
        }),
        ("unexpected file type", |it| {
            let file = it.file();
            fs::remove_file(&file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("unexpected file type", |it| {
            let folder = it.file().parent().unwrap().to_owned();
            fs::remove_dir_all(&folder).unwrap();
            fs::write(folder, "").unwrap();
        }),
        ("other users can write", |it| {
            let folder = it.file().parent().unwrap().to_owned();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("other users can write", |it| {
            fs::set_permissions(&it.path, fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("unexpected file type", |it| {
            fs::remove_file(it.path.join("counts")).unwrap();
            fs::create_dir(it.path.join("counts")).unwrap();
        }),
        ("symbolic link or not a directory", |it| {
            fs::rename(&it.path, it.outer().join("elsewhere")).unwrap();
            symlink(it.outer().join("elsewhere"), &it.path).unwrap();
        }),
        ("the file is damaged", |it| fs::write(it.file(), "harm").unwrap()),
        ("newer release", |it| {
            let mut bytes = fs::read(it.file()).unwrap();
            bytes[4] = 2;
            fs::write(it.file(), bytes).unwrap();
        }),
    ];
    for (n, (words, harm)) in harms.into_iter().enumerate() {
        let place = Place::new();
        cache(&place.path, "").set("k", &1, secs(600)).await.unwrap();
        harm(&place);
        let (reader, writer) = (cache(&place.path, ""), cache(&place.path, ""));
        let read = reader.get::<i32>("k").await;
        let written = writer.set("k", &2, secs(600)).await;
        let errors: Vec<Error> = read.err().into_iter().chain(written.err()).collect();
        assert!(!errors.is_empty(), "{n}: {words}");
        for error in errors {
            assert_named(&error, words, &place);
        }
    }
}

#[tokio::test]
async fn errors_of_the_disk_name_the_directory() {
    let place = Place::new();
    let Some(mount) = Mount::new(&place.path, "size=1M") else { return };
    let cache = cache(&place.path, "");
    cache.set("k", &1, secs(600)).await.unwrap();
    let _ = fs::write(place.path.join("filler"), vec![0; 3 << 20]);
    let full = cache.bytes().set("large", &pattern(1, 500_000), secs(600)).await.unwrap_err();
    assert_named(&full, "disk full", &place);
    let many = cache.set_many([("l", "x".repeat(500_000))], secs(600)).await.unwrap();
    assert_named(&many.into_iter().next().unwrap().error, "disk full", &place);
    cache.close().await.unwrap();
    mount.again("ro");
    for error in [
        cache.set("k", &2, secs(600)).await.unwrap_err(),
        cache.clear().await.unwrap_err(),
        cache.clear_store().await.unwrap_err(),
        cache.check().await.unwrap_err(),
    ] {
        assert_named(&error, "read-only", &place);
    }
}

#[tokio::test]
async fn error_of_a_lock_names_the_directory() {
    let place = Place::new();
    cache(&place.path, "").set("k", &1, secs(600)).await.unwrap();
    let toml = toml(&place.path, "").replace("'20s'", "'1500ms'");
    let cache = of_toml(still_clock().clock(), &toml).unwrap().strict();
    let held = fs::File::open(place.file().parent().unwrap()).unwrap();
    held.lock().unwrap();
    let error = cache.set("k", &2, secs(600)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_named(&error, "holds the lock", &place);
    assert!(error.to_string().contains("folder: "), "{error}");
    drop(held);
}

#[test]
fn errors_of_process_limits_name_the_directory() {
    for (shell, task, words) in [
        ("trap '' XFSZ; ulimit -f 60", "large 1", "file too large"),
        ("ulimit -n 60", "hoard 1", "too many open files"),
    ] {
        let place = Place::new();
        let lines = Child::start_in(shell, task, &place.path, "").all();
        let directory = format!("directory: {}", place.path.display());
        assert!(lines[0].contains(words) && lines[0].contains(&directory), "{lines:?}");
    }
}

#[tokio::test]
async fn errors_of_the_caller_do_not_name_the_directory() {
    let place = Place::new();
    let cache = cache(&place.path, "max_value_bytes = 100");
    cache.set("k", &"text", secs(600)).await.unwrap();
    for error in [
        cache.incr("k", 1).await.unwrap_err(),
        cache.set("k", &"x".repeat(200), secs(600)).await.unwrap_err(),
    ] {
        assert!(!error.to_string().contains("directory: "), "{error}");
    }
}
