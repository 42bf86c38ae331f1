//! The handles of caches: by alias, by location, and the calls that reach every alias.

use std::sync::Arc;

use cache_core::{
    Caches, ErrorKind, Result, Timeout,
    layer::Operation,
    store::{Backend, Inline},
    testing::{Fault, Faulty, Model},
};
use tokio::sync::Semaphore;

use crate::MEMORY;

#[test]
fn repeated_get_of_an_alias_returns_the_same_handle() {
    let caches = Caches::from_toml(&format!("{MEMORY}[caches.fast]\nbackend = 'memory'")).unwrap();
    assert!(std::ptr::eq(caches.get("fast").unwrap(), caches.get("fast").unwrap()));
    assert!(!caches.get("fast").unwrap().is_same(caches.get("default").unwrap()));
    assert_eq!(caches.aliases().collect::<Vec<_>>(), ["default", "fast"]);
    let error = caches.get("slow").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownAlias);
    assert!(
        error.to_string().contains("`slow`") && error.to_string().contains("`default` and `fast`"),
        "{error}"
    );
}

#[tokio::test]
async fn aliases_of_one_location_share_entries_only_within_one_caches() -> Result<()> {
    let text = "[caches.default]\nbackend = 'memory'\nlocation = 'main'\n[caches.b]\nbackend = 'memory'\nlocation = 'main'\n\
                [caches.c]\nbackend = 'memory'";
    let (one, two) = (Caches::from_toml(text)?, Caches::from_toml(text)?);
    one.get("default")?.set("k", &1, Timeout::Default).await?;
    assert_eq!(one.get("b")?.get::<i32>("k").await?, Some(1));
    assert_eq!(one.get("c")?.get::<i32>("k").await?, None);
    assert_eq!(two.get("default")?.get::<i32>("k").await?, None);
    Ok(())
}

#[tokio::test]
async fn value_that_another_alias_loads_is_not_stored_after_a_clear_of_the_store() -> Result<()> {
    let text = "[caches.default]\nbackend = 'memory'\nlocation = 'main'\n[caches.other]\nbackend = 'memory'\n\
                location = 'main'\nkey_prefix = 'other'";
    let caches = Caches::from_toml(text)?;
    let (one, other) = (caches.get("default")?, caches.get("other")?);
    let (begun, release) = (Semaphore::new(0), Semaphore::new(0));
    let load = other.get_or_set("k", Timeout::Default, || async {
        begun.add_permits(1);
        release.acquire().await.unwrap().forget();
        1
    });
    let clear = async {
        begun.acquire().await.unwrap().forget();
        one.clear_store().await.unwrap();
        release.add_permits(1);
    };
    let (loaded, ()) = tokio::join!(load, clear);
    assert_eq!(loaded?, 1);
    assert_eq!(other.get::<i32>("k").await?, None);
    Ok(())
}

#[test]
fn key_function_for_an_unknown_alias_is_refused() {
    let builder = Caches::builder().toml(MEMORY).unwrap();
    let error = builder.key_function("slow", str::to_owned).build().unwrap_err();
    assert!(error.to_string().contains("`slow`"), "{error}");
}

#[test]
fn caches_build_without_a_runtime_and_handles_are_send_and_sync() {
    fn is_send_and_sync<T: Clone + Send + Sync + 'static>(_: &T) {}
    let caches = Caches::from_toml(MEMORY).unwrap();
    let cache = caches.get("default").unwrap();
    is_send_and_sync(cache);
    is_send_and_sync(&cache.blocking());
    let _: Arc<dyn Backend> = Arc::clone(cache.backend());
}

#[tokio::test]
async fn check_and_close_call_every_cache_and_report_each() {
    let store = Faulty::new(Arc::new(Inline::new(Model::default())));
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    let caches =
        Caches::builder().toml(MEMORY).unwrap().backend("broken", Arc::new(store)).build().unwrap();
    let report = caches.check().await;
    assert!(!report.is_ok());
    let text = report.to_string();
    assert!(text.contains("default: ok") && text.contains("broken: store unavailable"), "{text}");
    let error = caches.close().await.unwrap_err();
    assert_eq!(error.context("alias"), Some("broken"), "fail_open hides no failed close");
    assert!(caches.get("default").unwrap().close().await.is_ok(), "closing twice is fine");
}

#[tokio::test]
async fn hanging_store_does_not_keep_check_and_close_from_other_stores() {
    let [hangs, serves] = [(); 2].map(|()| Faulty::new(Arc::new(Inline::new(Model::default()))));
    hangs.inject(|_| Fault::Hang);
    let builder = Caches::builder().backend("default", Arc::new(hangs));
    let caches = builder.backend("other", Arc::new(serves.clone())).build().unwrap();
    tokio::select! {
        _ = caches.check() => panic!("one hangs"),
        () = serves.arrived(Operation::Check, 1) => {}
    }
    tokio::select! {
        _ = caches.close() => panic!("one hangs"),
        () = serves.arrived(Operation::Close, 1) => {}
    }
}
