//! How long calls wait for a store that does not reply.

use std::time::Duration;

use cache_core::{
    ErrorKind, Result, Timeout,
    layer::Operation,
    testing::{FakeClock, Fault},
};

use crate::{kind, timed};

/// Runs a call that hangs, and checks that it ends at its deadline and not earlier.
pub(crate) async fn hangs<T: Send + 'static>(
    time: &FakeClock,
    limit: Duration,
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let call = tokio::spawn(call);
    time.sleepers(1).await;
    time.advance(limit.checked_sub(Duration::from_millis(1)).unwrap());
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished(), "the call ended before its deadline");
    time.advance(Duration::from_millis(1));
    call.await.unwrap()
}

/// The contract: "500 ms per round trip once connected (by default)". Then the call fails as with
/// any failure. D23: Django's memcached client waited as long as the server was frozen.
#[tokio::test]
async fn d23_call_to_a_hung_store_ends_at_the_deadline() -> Result<()> {
    let (time, store, cache) = timed();
    let limit = Duration::from_millis(500);
    // After an unanswered call, calls have a shorter deadline, so one call succeeds in between.
    let restore_deadline = async || {
        store.heal();
        cache.get::<i32>("other").await.unwrap();
        store.inject(|_| Fault::Hang);
    };
    restore_deadline().await;
    let own = cache.clone();
    assert_eq!(hangs(&time, limit, async move { own.get::<i32>("k").await }).await?, None);
    restore_deadline().await;
    let own = cache.strict();
    let result = hangs(&time, limit, async move { own.get::<i32>("k").await }).await;
    assert_eq!(kind(result), ErrorKind::TimedOut);
    restore_deadline().await;
    let own = cache.clone();
    let result = hangs(&time, limit, async move { own.incr("k", 1).await }).await;
    assert_eq!(kind(result), ErrorKind::TimedOut);
    restore_deadline().await;
    let own = cache.clone();
    hangs(&time, limit, async move { own.set("k", &1, Timeout::Default).await }).await?;
    assert_eq!(cache.stats().tombstones, 1);
    store.heal();
    assert_eq!(cache.get::<i32>("k").await?, None);
    cache.set("k", &2, Timeout::Default).await?;
    assert_eq!(cache.get::<i32>("k").await?, Some(2), "the handle works again without a restart");
    Ok(())
}

/// The contract: "After a time-out or a dropped future the outcome of a write is unknown (an `incr`
/// may have counted)."
#[tokio::test]
async fn timed_out_increment_may_have_counted() -> Result<()> {
    let (time, store, cache) = timed();
    cache.set("k", &1, Timeout::Default).await?;
    store.inject(|call| match call.operation {
        Operation::Incr => Fault::HangAfter,
        _ => Fault::None,
    });
    let own = cache.clone();
    let result = hangs(&time, Duration::from_millis(500), async move { own.incr("k", 1).await });
    assert_eq!(kind(result.await), ErrorKind::TimedOut);
    store.heal();
    assert_eq!(cache.get::<i32>("k").await?, Some(2));
    Ok(())
}

/// The contract: no deadline for `clear` and `check`.
#[tokio::test]
async fn clear_check_and_close_have_no_deadline() -> Result<()> {
    let (time, store, cache) = timed();
    store.inject(|_| Fault::None);
    for operation in [Operation::Clear, Operation::ClearStore, Operation::Check, Operation::Close] {
        let (held, calls) = (store.hold(operation), store.calls(operation));
        let own = cache.clone();
        let call = tokio::spawn(async move {
            match operation {
                Operation::Clear => own.clear().await,
                Operation::ClearStore => own.clear_store().await,
                Operation::Check => own.check().await,
                _ => own.close().await,
            }
        });
        store.arrived(operation, calls + 1).await;
        time.advance(Duration::from_secs(3600));
        held.release();
        call.await.unwrap()?;
    }
    Ok(())
}

/// The outcome of a dropped write is unknown, but later calls do not wait for the dropped call.
#[tokio::test]
async fn dropped_write_does_not_delay_later_calls() -> Result<()> {
    let (_, store, cache) = timed();
    let held = store.hold(Operation::Delete);
    tokio::select! {
        _ = cache.delete("k") => panic!("a held call returned"),
        () = store.arrived(Operation::Delete, 1) => {}
    }
    held.release();
    cache.set("k", &1, Timeout::Default).await?;
    assert!(cache.delete("k").await?);
    Ok(())
}
