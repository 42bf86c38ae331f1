use std::{sync::Arc, thread};

use cache_core::{
    Error, Result, Ttl,
    store::{Backend, Expiry, SetMode},
};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME, skip},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    check_succeeds_on_a_working_store,
    name_is_printable_and_capabilities_are_stable,
    id_is_equal_for_all_calls_views_and_handles,
    close_can_be_repeated,
    calls_after_close_reconnect,
    calls_during_close_succeed,
    handles_of_a_shared_store_see_the_same_entries,
    entries_of_a_persistent_store_outlive_their_handle,
    store_works_from_two_runtimes,
    sync_view_is_the_same_store,
    leader_view_is_the_same_store,
];

/// `check` connects, asks the store whether it works, and changes no entry.
async fn check_succeeds_on_a_working_store(ctx: &Ctx) -> TestResult {
    ctx.store.check().await?;
    ctx.put(&ctx.key("k"), "v").await?;
    ctx.store.check().await?;
    ctx.expect(&ctx.key("k"), Some(b"v"), "after check").await?;
    Ok(())
}

/// The name is printable ASCII; name and capabilities stay the same after the store connects.
async fn name_is_printable_and_capabilities_are_stable(ctx: &Ctx) -> TestResult {
    let name = ctx.store.name();
    assert!(
        !name.is_empty() && name.bytes().all(|it| it.is_ascii_graphic()),
        "the name is {name:?}, expected printable ASCII"
    );
    ctx.store.check().await?;
    assert_eq!(ctx.store.capabilities(), ctx.capabilities, "capabilities after check");
    assert!(!format!("{:?}", ctx.store).is_empty());
    Ok(())
}

/// `id` is equal for all handles and views of one store, and at every call.
async fn id_is_equal_for_all_calls_views_and_handles(ctx: &Ctx) -> TestResult {
    let id = ctx.store.id();
    ctx.store.check().await?;
    assert_eq!(ctx.store.id(), id, "the id after check");
    if let Some(view) = Arc::clone(&ctx.store).views().sync {
        assert_eq!(view.id(), id, "the id of the sync view");
    }
    if let Some(view) = Arc::clone(&ctx.store).views().leader {
        assert_eq!(view.id(), id, "the id of the leader view");
    }
    if ctx.capabilities.shared {
        assert_eq!(ctx.another_handle().id(), id, "the id of another handle");
    }
    Ok(())
}

/// `close` may be repeated, also before the first call.
async fn close_can_be_repeated(ctx: &Ctx) -> TestResult {
    ctx.store.close().await?;
    ctx.put(&ctx.key("k"), "v").await?;
    ctx.store.close().await?;
    ctx.store.close().await?;
    Ok(())
}

/// `close` keeps what was written; later calls reconnect.
async fn calls_after_close_reconnect(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for round in 0..5 {
        let value = format!("v{round}");
        ctx.put(&key, value.clone()).await?;
        ctx.store.close().await?;
        if ctx.capabilities.shared || ctx.capabilities.persistent {
            ctx.expect(&key, Some(value.as_bytes()), "written before close").await?;
        }
        ctx.store.check().await?;
        ctx.put(&key, "new").await?;
        ctx.expect(&key, Some(b"new"), "written after close").await?;
        assert!(ctx.store.delete(&key).await?);
    }
    Ok(())
}

/// A call during `close` succeeds and gets its own reply.
async fn calls_during_close_succeed(ctx: &Ctx) -> TestResult {
    let answers = ctx
        .race(8, |n, store| {
            let key = ctx.key(n);
            async move {
                for round in 0..20 {
                    if round % 4 == n % 4 {
                        store.close().await?;
                    } else {
                        let value = format!("{n} {round}");
                        store.set(&key, value.clone().into(), LONG, SetMode::Always).await?;
                        let found = store.get(&key).await?;
                        assert!(
                            found.is_none_or(|it| it == value),
                            "get returned the reply to another call"
                        );
                    }
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<Result<()>>()?;
    Ok(())
}

/// All handles on a [`shared`](cache_core::store::Capabilities::shared) store see the same entries.
async fn handles_of_a_shared_store_see_the_same_entries(ctx: &Ctx) -> TestResult {
    if !ctx.capabilities.shared {
        return skip("handles need not share their entries (`Capabilities::shared` is false)");
    }
    let (key, other) = (ctx.key("k"), ctx.another_handle());
    ctx.put(&key, "1").await?;
    assert_eq!(other.get(&key).await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(other.incr(&key, 1, None).await?, Some(2));
    ctx.expect(&key, Some(b"2"), "written by another handle").await?;
    assert!(other.touch(&key, Expiry::Never).await?);
    assert_eq!(ctx.store.ttl(&key).await?, Some(Ttl::Forever));
    other.clear(&ctx.namespace(ctx.prefix())).await?;
    ctx.expect(&key, None, "cleared by another handle").await?;
    other.close().await?;
    ctx.put(&key, "v").await?;
    ctx.expect(&key, Some(b"v"), "after close of another handle").await?;
    Ok(())
}

/// Entries of a [`persistent`](cache_core::store::Capabilities::persistent) store outlive the
/// handle that wrote them.
async fn entries_of_a_persistent_store_outlive_their_handle(ctx: &Ctx) -> TestResult {
    if !ctx.capabilities.persistent || !ctx.capabilities.shared {
        return skip(
            "entries need not outlive a handle (`Capabilities::persistent` or `shared` is false)",
        );
    }
    let (key, start) = (ctx.key("k"), ctx.now());
    let first = ctx.another_handle();
    first.set(&key, "v".into(), LONG, SetMode::Always).await?;
    first.close().await?;
    drop(first);
    let second = ctx.another_handle();
    assert_eq!(second.get(&key).await?.as_deref(), Some(&b"v"[..]));
    ctx.expect_lifetime(&key, LONG, start, "after its handle was dropped").await?;
    Ok(())
}

/// Each tokio runtime can use the store, also after another one has ended: a connection belongs to
/// one runtime.
async fn store_works_from_two_runtimes(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for round in 0..3 {
        let store = Arc::clone(&ctx.store);
        let theirs = key.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // A new thread: on a blocking thread of this runtime, the runtime would still be
            // current.
            thread::spawn(move || in_a_runtime_of_its_own(&store, &theirs))
                .join()
                .expect("the thread ended without a panic")
        });
        answer.await.expect("the thread ended without a panic")?;
        ctx.expect(&key, Some(b"theirs"), "written by another runtime").await?;
        ctx.put(&key, format!("ours {round}")).await?;
    }
    Ok(())
}

fn in_a_runtime_of_its_own(store: &Arc<dyn Backend>, key: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a second runtime can be built").block_on(async {
        store.set(key, "theirs".into(), LONG, SetMode::Always).await?;
        let found = store.get(key).await?;
        assert_eq!(found.as_deref(), Some(&b"theirs"[..]));
        Ok::<_, Error>(())
    })
}

/// `sync_view` is the same store without futures.
async fn sync_view_is_the_same_store(ctx: &Ctx) -> TestResult {
    let Some(view) = Arc::clone(&ctx.store).views().sync else {
        return skip("the store has no sync view");
    };
    let (key, start) = (ctx.key("k"), ctx.now());
    assert_eq!((view.name(), view.capabilities()), (ctx.store.name(), ctx.capabilities));
    view.set(&key, "41".into(), LONG, SetMode::IfAbsent)?;
    ctx.expect(&key, Some(b"41"), "written by the sync view").await?;
    ctx.expect_lifetime(&key, LONG, start, "written by the sync view").await?;
    assert_eq!(ctx.store.incr(&key, 1, None).await?, Some(42));
    assert_eq!(view.get(&key)?.as_deref(), Some(&b"42"[..]));
    assert!(view.delete(&key)?);
    ctx.expect(&key, None, "deleted by the sync view").await?;
    view.check()?;
    Ok(())
}

/// `leader_view` is the same store, and reads from the server that takes the writes.
async fn leader_view_is_the_same_store(ctx: &Ctx) -> TestResult {
    let Some(view) = Arc::clone(&ctx.store).views().leader else {
        return skip("the store has no leader view: its reads never lag behind");
    };
    assert_eq!((view.name(), view.capabilities()), (ctx.store.name(), ctx.capabilities));
    assert!(Arc::clone(&view).views().leader.is_none(), "a leader view returned a leader view");
    assert!(
        Arc::clone(&ctx.store).views().sync.is_none(),
        "a store with a leader view returned a sync view"
    );
    let (key, keys) = (ctx.key("k"), [ctx.key("k"), ctx.key("absent")]);
    let keys = keys.each_ref().map(String::as_str);
    // Often, because a replica that lags is not late every time.
    for round in 0..20_i64 {
        let (start, value) = (ctx.now(), round.to_string());
        let value = Some(value.as_bytes());
        ctx.put(&key, round.to_string()).await?;
        assert_eq!(
            view.get(&key).await?.as_deref(),
            value,
            "the leader view's get of what the store wrote"
        );
        ctx.assert_ttl(view.ttl(&key).await?, LONG_TIME, start, "the leader view's ttl");
        assert!(view.has(&key).await?);
        let entry = view.get_entry(&key).await?;
        assert_eq!(entry.as_ref().map(|it| &it.value[..]), value);
        let found: Vec<_> = view.get_many(&keys).await.into_iter().collect::<Result<_>>()?;
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), [value, None]);
        let found: Vec<_> = view.get_entries(&keys).await.into_iter().collect::<Result<_>>()?;
        let found = found.iter().map(|it| it.as_ref().map(|it| &it.value[..]));
        assert_eq!(found.collect::<Vec<_>>(), [value, None]);
        // In the other direction only calls that write: reads of the store may lag.
        assert!(view.set(&key, "41".into(), LONG, SetMode::IfPresent).await?);
        assert_eq!(
            ctx.store.incr(&key, 1, None).await?,
            Some(42),
            "incr of what the leader view wrote"
        );
        assert_eq!(view.take(&key).await?.as_deref(), Some(&b"42"[..]));
        returned!(ctx.store.delete(&key).await?, false, "delete of what the leader view took");
        assert_eq!(view.get(&key).await?, None);
    }
    view.check().await?;
    Ok(())
}
