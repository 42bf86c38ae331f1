//! Traps in which other libraries were caught.

use std::{io, sync::Arc};

use cache_core::store::Backend;
use tokio::{sync::Notify, task::spawn};

use crate::{MINUTE, SECOND, World, marker, run_tasks};

/// Another process invalidates during the load, so this process does not know.
#[tokio::test]
async fn trap_versions_read_after_the_load() {
    for kind in ["get_or_set", "fetch", "get_or_set_many"] {
        let World { here, there, time, .. } = World::new();
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let load = spawn({
            let (cache, began, go_on) = (here.with_tags(["t"]), began.clone(), go_on.clone());
            async move {
                let read = async move || {
                    began.notify_one();
                    go_on.notified().await;
                    Ok::<_, io::Error>(1)
                };
                match kind {
                    "get_or_set" => {
                        cache.get_or_try_set("k", MINUTE, read).await.unwrap();
                    }
                    "fetch" => {
                        let load = async move |_| read().await;
                        cache.fetch("k").load(load).await.unwrap();
                    }
                    _ => {
                        let read = &read;
                        let load = |_| async move { read().await.map(|it| [("k", it)]) };
                        cache.get_or_try_set_many(["k"], MINUTE, load).await.unwrap();
                    }
                }
            }
        });
        began.notified().await;
        there.invalidate_tags(["t"]).await.unwrap();
        // A version that were read after the load would be the new one.
        time.advance(SECOND);
        go_on.notify_one();
        load.await.unwrap();
        run_tasks().await;
        assert_eq!(there.get::<u32>("k").await.unwrap(), None, "{kind}");
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{kind}");
    }
}

#[tokio::test]
async fn trap_missing_marker_treated_as_valid() {
    let world = World::new();
    let (here, there) = (&world.here, &world.there);
    here.with_tags(["t", "u"]).set("k", &1, MINUTE).await.unwrap();
    world.lose_marker("t").await;
    // This process has never read the marker.
    assert_eq!(there.get::<u32>("k").await.unwrap(), None);
    assert!(!there.has_key("k").await.unwrap());
    assert!(there.get_many::<u32, _>(["k"]).await.unwrap().is_empty());
    world.time.advance(SECOND);
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
    // A marker that is made again does not make the old entry valid.
    here.with_tags(["t"]).set("j", &2, MINUTE).await.unwrap();
    assert_eq!(there.get::<u32>("k").await.unwrap(), None);
    assert_eq!(there.get::<u32>("j").await.unwrap(), Some(2));
}

#[tokio::test]
async fn trap_marker_that_another_program_overwrote_is_not_valid() {
    use cache_core::store::{Expiry, SetMode};
    let World { here, there, store, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    for odd in [&b""[..], b"1", b"\xff\xfe", b"0000000000000"] {
        let odd = bytes::Bytes::from_static(odd);
        store.set(&marker("t"), odd, Expiry::Never, SetMode::Always).await.unwrap();
        assert_eq!(there.get::<u32>("k").await.unwrap(), None);
    }
    there.with_tags(["t"]).set("k", &2, MINUTE).await.unwrap();
    assert_eq!(there.get::<u32>("k").await.unwrap(), Some(2), "the marker works again");
}

#[tokio::test]
async fn trap_a_touch_beside_an_invalidation_does_not_revive() {
    let World { here, .. } = World::new();
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    here.invalidate_tags(["t"]).await.unwrap();
    assert!(!here.touch("k", MINUTE).await.unwrap());
    here.with_tags(["t"]).set("j", &1, MINUTE).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
}
