//! The global caches, and the scopes that override them.

use cache_core::{
    CACHES, Caches, ErrorKind, Timeout, cache, install,
    testing::{FakeClock, Model},
};

use crate::MEMORY;

#[tokio::test]
async fn global_caches_are_installed_once_and_overridden_in_a_scope() {
    assert_eq!(CACHES.get("default").unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(CACHES.aliases().count(), 0);
    let nothing = std::panic::catch_unwind(|| cache().alias().to_owned()).unwrap_err();
    let text = nothing.downcast_ref::<String>().unwrap();
    assert!(text.contains("cache_core::install"), "{text}");
    let scoped = Caches::from_toml("caches.default.backend = 'dummy'").unwrap().leak();
    CACHES.scope_sync(scoped, || assert!(CACHES.get("default").is_ok()));
    let lost = CACHES.get("default").unwrap_err();
    assert!(lost.to_string().contains("CACHES.current()"), "{lost}");

    install(Caches::from_toml(&format!("{MEMORY}[caches.fast]\nbackend = 'memory'")).unwrap())
        .unwrap();
    assert!(std::ptr::eq(cache(), CACHES.get("default").unwrap()));
    let elsewhere = std::thread::spawn(|| std::ptr::from_ref(cache()).addr()).join().unwrap();
    assert_eq!(elsewhere, std::ptr::from_ref(cache()).addr(), "the handle on another thread");
    let unknown = std::panic::catch_unwind(|| CACHES["slow"].alias().to_owned()).unwrap_err();
    assert!(unknown.downcast_ref::<String>().unwrap().contains("`slow`"));

    cache().set("k", &1, Timeout::Default).await.unwrap();
    let error =
        install(Caches::from_toml("caches.default.backend = 'dummy'").unwrap()).unwrap_err();
    assert!(error.to_string().contains("already installed"), "{error}");
    assert_eq!(cache().get::<i32>("k").await.unwrap(), Some(1), "the first caches stay installed");

    let time = FakeClock::new();
    let dummy = Caches::from_toml("caches.default.backend = 'dummy'").unwrap().leak();
    let model =
        Caches::builder().backend("default", Model::new(time.clock())).build().unwrap().leak();
    CACHES
        .scope(dummy, async {
            cache().set("k", &2, Timeout::Default).await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(cache().get::<i32>("k").await.unwrap(), None);
            CACHES
                .scope(model, async {
                    cache().set("k", &3, Timeout::Default).await.unwrap();
                    assert_eq!(cache().get::<i32>("k").await.unwrap(), Some(3));
                })
                .await;
            let spawned = tokio::spawn(async { cache().get::<i32>("k").await.unwrap() });
            assert_eq!(spawned.await.unwrap(), Some(1), "a spawned task uses the installed caches");
            assert_eq!(cache().get::<i32>("k").await.unwrap(), None);
            let current = CACHES.current();
            let carried = current.scope(async { cache().backend().name() });
            assert_eq!(tokio::spawn(carried).await.unwrap(), "dummy");
            let name = move || current.scope_sync(|| cache().backend().name());
            assert_eq!(std::thread::spawn(name).join().unwrap(), "dummy");
        })
        .await;
    let outside = CACHES.current().scope(async { cache().backend().name() });
    assert_eq!(outside.await, "memory", "outside of a scope, the installed caches");
    assert_eq!(cache().get::<i32>("k").await.unwrap(), Some(1));
    CACHES.scope_sync(dummy, || assert_eq!(cache().backend().name(), "dummy"));
    assert_eq!(cache().backend().name(), "memory");
}
