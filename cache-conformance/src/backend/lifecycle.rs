use std::{sync::Arc, thread};

use cache_core::{Backend, Error, Expiry, Result};

use crate::{
    ctx::{Ctx, LONG, LONG_TIME, skip},
    runner::{Test, TestResult, tests},
};

pub(super) const TESTS: &[Test] = tests![
    check_says_that_the_store_serves,
    the_name_is_a_name,
    the_id_is_the_same_at_every_call,
    close_may_be_called_again,
    calls_after_close_connect_again,
    calls_during_close_are_answered,
    handles_share_one_store,
    entries_outlive_a_handle,
    two_runtimes_can_call,
    the_sync_view_is_the_same_store,
    the_leader_view_is_the_same_store,
];

/// "Connects, if need be, and asks the store whether it serves."
async fn check_says_that_the_store_serves(ctx: &Ctx) -> TestResult {
    ctx.store.check().await?;
    ctx.put(&ctx.key("k"), "v").await?;
    ctx.store.check().await?;
    ctx.expect(&ctx.key("k"), Some(b"v"), "check changes nothing").await?;
    Ok(())
}

/// "The driver's name, for messages and counters", and the facts are the same whenever they are asked for.
async fn the_name_is_a_name(ctx: &Ctx) -> TestResult {
    let name = ctx.store.name();
    assert!(!name.is_empty() && name.bytes().all(|it| it.is_ascii_graphic()), "{name:?}");
    ctx.store.check().await?;
    assert_eq!(ctx.store.capabilities(), ctx.facts);
    assert!(!format!("{:?}", ctx.store).is_empty());
    Ok(())
}

/// `id`: "Equal for all handles and views of one store, and the same at every call".
async fn the_id_is_the_same_at_every_call(ctx: &Ctx) -> TestResult {
    let id = ctx.store.id();
    ctx.store.check().await?;
    assert_eq!(ctx.store.id(), id);
    if let Some(view) = Arc::clone(&ctx.store).sync_view() {
        assert_eq!(view.id(), id, "the sync view");
    }
    if let Some(view) = Arc::clone(&ctx.store).leader_view() {
        assert_eq!(view.id(), id, "the leader view");
    }
    if ctx.facts.shared {
        assert_eq!(ctx.another_handle().id(), id, "another handle on the same entries");
    }
    Ok(())
}

/// `close`: "idempotent", before the first call too.
async fn close_may_be_called_again(ctx: &Ctx) -> TestResult {
    ctx.store.close().await?;
    ctx.put(&ctx.key("k"), "v").await?;
    ctx.store.close().await?;
    ctx.store.close().await?;
    Ok(())
}

/// `close`: "flushes and disconnects"; "later calls reconnect".
async fn calls_after_close_connect_again(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for round in 0..5 {
        let value = format!("v{round}");
        ctx.put(&key, value.clone()).await?;
        ctx.store.close().await?;
        if ctx.facts.shared || ctx.facts.persistent {
            ctx.expect(&key, Some(value.as_bytes()), "written before close").await?;
        }
        ctx.store.check().await?;
        ctx.put(&key, "new").await?;
        ctx.expect(&key, Some(b"new"), "written after close").await?;
        assert!(ctx.store.delete(&key).await?);
    }
    Ok(())
}

/// Who calls while another closes gets an answer, and not another's.
async fn calls_during_close_are_answered(ctx: &Ctx) -> TestResult {
    let answers = ctx
        .race(8, |n, store| {
            let key = ctx.key(n);
            async move {
                for round in 0..20 {
                    if round % 4 == n % 4 {
                        store.close().await?;
                    } else {
                        let value = format!("{n} {round}");
                        store
                            .set(&key, value.clone().into(), LONG, cache_core::SetMode::Always)
                            .await?;
                        let found = store.get(&key).await?;
                        assert!(found.is_none_or(|it| it == value), "the answer to another call");
                    }
                }
                Ok(())
            }
        })
        .await;
    answers.into_iter().collect::<Result<()>>()?;
    Ok(())
}

/// [`Capabilities::shared`](cache_core::Capabilities::shared): "Other processes see the entries", and other handles.
async fn handles_share_one_store(ctx: &Ctx) -> TestResult {
    if !ctx.facts.shared {
        return skip("each handle may have a store of its own (`Capabilities::shared`)");
    }
    let (key, other) = (ctx.key("k"), ctx.another_handle());
    ctx.put(&key, "1").await?;
    assert_eq!(other.get(&key).await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(other.incr(&key, 1, None).await?, Some(2));
    ctx.expect(&key, Some(b"2"), "written by the other").await?;
    assert!(other.touch(&key, Expiry::Never).await?);
    assert_eq!(ctx.store.ttl(&key).await?, Some(cache_core::Ttl::Forever));
    other.clear(&ctx.namespace(ctx.prefix())).await?;
    ctx.expect(&key, None, "cleared by the other").await?;
    other.close().await?;
    ctx.put(&key, "v").await?;
    ctx.expect(&key, Some(b"v"), "closing one handle leaves the others alone").await?;
    Ok(())
}

/// [`Capabilities::persistent`](cache_core::Capabilities::persistent): "Entries outlive the process", so they outlive a handle.
async fn entries_outlive_a_handle(ctx: &Ctx) -> TestResult {
    if !ctx.facts.persistent || !ctx.facts.shared {
        return skip(
            "another handle does not see this one's entries (`Capabilities::persistent`, `shared`)",
        );
    }
    let (key, start) = (ctx.key("k"), ctx.now());
    let first = ctx.another_handle();
    first.set(&key, "v".into(), LONG, cache_core::SetMode::Always).await?;
    first.close().await?;
    drop(first);
    let second = ctx.another_handle();
    assert_eq!(second.get(&key).await?.as_deref(), Some(&b"v"[..]));
    ctx.expect_life(&key, LONG, start, "after the handle that wrote it").await?;
    Ok(())
}

/// "a connection made in one runtime hangs when another drives it, so each runtime gets its own": also after one of them
/// has ended.
async fn two_runtimes_can_call(ctx: &Ctx) -> TestResult {
    let key = ctx.key("k");
    for round in 0..3 {
        let store = Arc::clone(&ctx.store);
        let theirs = key.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // A thread of its own: blocking ones of this runtime belong to it.
            thread::spawn(move || in_a_runtime_of_its_own(&store, &theirs))
                .join()
                .expect("it does not panic")
        });
        answer.await.expect("it does not panic")?;
        ctx.expect(&key, Some(b"theirs"), "written by another runtime").await?;
        ctx.put(&key, format!("ours {round}")).await?;
    }
    Ok(())
}

fn in_a_runtime_of_its_own(store: &Arc<dyn Backend>, key: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there can be two runtimes").block_on(async {
        store.set(key, "theirs".into(), LONG, cache_core::SetMode::Always).await?;
        let found = store.get(key).await?;
        assert_eq!(found.as_deref(), Some(&b"theirs"[..]));
        Ok::<_, Error>(())
    })
}

/// `sync_view`: "The same store without futures".
async fn the_sync_view_is_the_same_store(ctx: &Ctx) -> TestResult {
    let Some(view) = Arc::clone(&ctx.store).sync_view() else {
        return skip("the store has no sync view");
    };
    let (key, start) = (ctx.key("k"), ctx.now());
    assert_eq!((view.name(), view.capabilities()), (ctx.store.name(), ctx.facts));
    view.set(&key, "41".into(), LONG, cache_core::SetMode::IfAbsent)?;
    ctx.expect(&key, Some(b"41"), "written by the view").await?;
    ctx.expect_life(&key, LONG, start, "written by the view").await?;
    assert_eq!(ctx.store.incr(&key, 1, None).await?, Some(42));
    assert_eq!(view.get(&key)?.as_deref(), Some(&b"42"[..]));
    assert!(view.delete(&key)?);
    ctx.expect(&key, None, "deleted by the view").await?;
    view.check()?;
    Ok(())
}

/// `leader_view`: "The same store with every read answered by the server that takes the writes".
async fn the_leader_view_is_the_same_store(ctx: &Ctx) -> TestResult {
    let Some(view) = Arc::clone(&ctx.store).leader_view() else {
        return skip("the store's reads never lag behind: it has no leader view");
    };
    assert_eq!((view.name(), view.capabilities()), (ctx.store.name(), ctx.facts));
    assert!(Arc::clone(&view).leader_view().is_none(), "the view has no view of its own");
    assert!(Arc::clone(&ctx.store).sync_view().is_none(), "what never waits has no copies");
    let (key, keys) = (ctx.key("k"), [ctx.key("k"), ctx.key("absent")]);
    let keys = keys.each_ref().map(String::as_str);
    // A copy that lags is not always late.
    for round in 0..20_i64 {
        let (start, value) = (ctx.now(), round.to_string());
        let value = Some(value.as_bytes());
        ctx.put(&key, round.to_string()).await?;
        assert_eq!(view.get(&key).await?.as_deref(), value, "what the store wrote is there");
        ctx.assert_remains(view.ttl(&key).await?, LONG_TIME, start, "of what the store wrote");
        assert!(view.has(&key).await?);
        let entry = view.get_entry(&key).await?;
        assert_eq!(entry.as_ref().map(|it| &it.value[..]), value);
        let found: Vec<_> = view.get_many(&keys).await.into_iter().collect::<Result<_>>()?;
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), [value, None]);
        let found: Vec<_> = view.get_entries(&keys).await.into_iter().collect::<Result<_>>()?;
        let found = found.iter().map(|it| it.as_ref().map(|it| &it.value[..]));
        assert_eq!(found.collect::<Vec<_>>(), [value, None]);
        // The other way round with calls that write: what the store reads may lag.
        assert!(view.set(&key, "41".into(), LONG, cache_core::SetMode::IfPresent).await?);
        assert_eq!(ctx.store.incr(&key, 1, None).await?, Some(42), "written by the view");
        assert_eq!(view.take(&key).await?.as_deref(), Some(&b"42"[..]));
        assert!(!ctx.store.delete(&key).await?, "taken by the view");
        assert_eq!(view.get(&key).await?, None);
    }
    view.check().await?;
    Ok(())
}
