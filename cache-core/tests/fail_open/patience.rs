//! A store that does not answer, and how long it is waited for.

use std::time::Duration;

use cache_core::{
    ErrorKind, Result, Timeout,
    layer::Operation,
    testing::{FakeClock, Fault},
};

use crate::{kind, timed};

/// Makes a call that hangs, and lets time pass until its deadline and not before.
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
    assert!(!call.is_finished(), "its time is not over");
    time.advance(Duration::from_millis(1));
    call.await.unwrap()
}

/// "500 ms per round trip once connected (by default)" (D23: Django's memcached client waited as long as the server stayed
/// frozen); then as any failure.
#[tokio::test]
async fn d23_a_store_that_does_not_answer_is_given_up() -> Result<()> {
    let (time, store, cache) = timed();
    let limit = Duration::from_millis(500);
    // Calls after one that was not answered have less time.
    let answered = async || {
        store.heal();
        cache.get::<i32>("other").await.unwrap();
        store.inject(|_| Fault::Hang);
    };
    answered().await;
    let own = cache.clone();
    assert_eq!(hangs(&time, limit, async move { own.get::<i32>("k").await }).await?, None);
    answered().await;
    let own = cache.strict();
    let answer = hangs(&time, limit, async move { own.get::<i32>("k").await }).await;
    assert_eq!(kind(answer), ErrorKind::TimedOut);
    answered().await;
    let own = cache.clone();
    let answer = hangs(&time, limit, async move { own.incr("k", 1).await }).await;
    assert_eq!(kind(answer), ErrorKind::TimedOut);
    answered().await;
    let own = cache.clone();
    hangs(&time, limit, async move { own.set("k", &1, Timeout::Default).await }).await?;
    assert_eq!(cache.stats().marked_keys, 1);
    store.heal();
    assert_eq!(cache.get::<i32>("k").await?, None);
    cache.set("k", &2, Timeout::Default).await?;
    assert_eq!(cache.get::<i32>("k").await?, Some(2), "the handle works again without a restart");
    Ok(())
}

/// "After a time-out or a dropped future the outcome of a write is unknown (an `incr` may have counted)."
#[tokio::test]
async fn a_timed_out_increment_may_have_counted() -> Result<()> {
    let (time, store, cache) = timed();
    cache.set("k", &1, Timeout::Default).await?;
    store.inject(|call| match call.operation {
        Operation::Incr => Fault::HangAfter,
        _ => Fault::None,
    });
    let own = cache.clone();
    let answer = hangs(&time, Duration::from_millis(500), async move { own.incr("k", 1).await });
    assert_eq!(kind(answer.await), ErrorKind::TimedOut);
    store.heal();
    assert_eq!(cache.get::<i32>("k").await?, Some(2));
    Ok(())
}

/// "none for `clear` and `check`".
#[tokio::test]
async fn clear_and_check_take_as_long_as_they_take() -> Result<()> {
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

/// A dropped write says nothing of the store's health, but its outcome is unknown: nothing hangs behind it.
#[tokio::test]
async fn a_dropped_call_holds_nothing_up() -> Result<()> {
    let (_, store, cache) = timed();
    let held = store.hold(Operation::Delete);
    tokio::select! {
        _ = cache.delete("k") => panic!("it is held"),
        () = store.arrived(Operation::Delete, 1) => {}
    }
    held.release();
    cache.set("k", &1, Timeout::Default).await?;
    assert!(cache.delete("k").await?);
    Ok(())
}
