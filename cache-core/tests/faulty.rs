//! The promises of `testing::Faulty`, the store that fails on request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    ErrorKind, Result,
    layer::Operation,
    store::{Backend, Expiry, Inline, SetMode},
    testing::{FakeClock, Fault, Faulty, Model},
};

fn faulty() -> Faulty {
    Faulty::new(Arc::new(Inline::new(Model::default())))
}

async fn set(store: &Faulty, key: &str) -> Result<bool> {
    store.set(key, "v".into(), Expiry::Never, SetMode::Always).await
}

fn kinds<T>(results: Vec<Result<T>>) -> Vec<Option<ErrorKind>> {
    results.into_iter().map(|it| it.err().map(|it| it.kind())).collect()
}

#[tokio::test]
async fn call_with_an_error_has_no_effect_and_with_a_lost_reply_has() {
    let store = faulty();
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert_eq!(set(&store, "before").await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.inject(|_| Fault::ErrorAfter(ErrorKind::TimedOut));
    assert_eq!(set(&store, "after").await.unwrap_err().kind(), ErrorKind::TimedOut);
    store.heal();
    assert!(!store.has("before").await.unwrap());
    assert!(store.has("after").await.unwrap());
    assert_eq!((store.calls(Operation::Set), store.all_calls()), (2, 4));
}

#[tokio::test]
async fn batch_fails_for_every_key_or_for_the_chosen_keys() {
    let store = faulty();
    let items: [(&str, Bytes); 3] = [("a", "1".into()), ("down", "2".into()), ("b", "3".into())];
    store.inject(|call| match call.keys {
        3 => Fault::Error(ErrorKind::Backend),
        _ => Fault::None,
    });
    assert_eq!(kinds(store.set_many(&items, Expiry::Never).await), [Some(ErrorKind::Backend); 3]);
    store.heal();
    store.fail_keys(|key| key == "down", ErrorKind::Unavailable);
    let down = Some(ErrorKind::Unavailable);
    assert_eq!(kinds(store.set_many(&items, Expiry::Never).await), [None, down, None]);
    let found = store.get_many(&["b", "down", "a"]).await;
    assert_eq!(found[0].as_ref().unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(found[2].as_ref().unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(kinds(found), [None, down, None]);
    assert_eq!(kinds(store.get_entries(&["down", "a"]).await), [down, None]);
    assert_eq!(kinds(store.delete_many(&["down"]).await), [down]);
    assert!(store.get("down").await.is_err());
    store.heal();
    assert!(!store.has("down").await.unwrap(), "a failed call had an effect");
}

#[tokio::test]
async fn delay_follows_the_given_clock() {
    let time = FakeClock::new();
    let store = faulty().with_clock(time.clock());
    store.inject(|_| Fault::Delay(Duration::from_secs(60)));
    let call = tokio::spawn({
        let store = store.clone();
        async move { set(&store, "k").await }
    });
    time.sleepers(1).await;
    time.advance(Duration::from_secs(59));
    store.heal();
    assert!(!store.has("k").await.unwrap(), "the delay is not over");
    time.advance(Duration::from_secs(1));
    assert!(call.await.unwrap().unwrap());
    assert!(store.has("k").await.unwrap());
}

#[tokio::test]
async fn hanging_call_can_be_dropped() {
    let store = faulty();
    for (fault, effect) in [(Fault::Hang, false), (Fault::HangAfter, true)] {
        store.inject(move |_| fault);
        let calls = store.calls(Operation::Set);
        tokio::select! {
            _ = set(&store, "k") => panic!("a hanging call returned"),
            () = store.arrived(Operation::Set, calls + 1) => {}
        }
        store.heal();
        assert_eq!(store.delete("k").await.unwrap(), effect, "{fault:?}");
    }
}

#[tokio::test]
async fn held_call_waits_until_every_hold_is_released() {
    let store = faulty();
    let (first, second) = (store.hold(Operation::Set), store.hold(Operation::Set));
    let call = tokio::spawn({
        let store = store.clone();
        async move { set(&store, "k").await }
    });
    store.arrived(Operation::Set, 1).await;
    first.release();
    assert!(!store.has("k").await.unwrap(), "the held call had an effect");
    assert!(!call.is_finished());
    // The fault is chosen when the call is released.
    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    drop(second);
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn only_an_inline_faulty_has_a_sync_view() {
    let store = Arc::new(Inline::new(Model::default()));
    assert!(Arc::new(Faulty::new(Arc::clone(&store))).views().sync.is_none());
    let faulty = Faulty::inline(store);
    let view = Arc::new(faulty.clone()).views().sync.unwrap();
    faulty.inject(|_| Fault::Error(ErrorKind::Unavailable));
    assert_eq!(view.get("k").unwrap_err().kind(), ErrorKind::Unavailable);
    faulty.heal();
    faulty.fail_keys(|key| key == "down", ErrorKind::TimedOut);
    assert_eq!(kinds(view.get_many(&["a", "down"])), [None, Some(ErrorKind::TimedOut)]);
    assert_eq!(faulty.calls(Operation::Get), 1);
}

#[tokio::test]
#[should_panic(expected = "cannot have the fault Hang")]
async fn fault_that_hangs_panics_in_the_sync_view() {
    let faulty = Faulty::inline(Arc::new(Inline::new(Model::default())));
    let view = Arc::new(faulty.clone()).views().sync.unwrap();
    faulty.inject(|_| Fault::Hang);
    let _ = view.get("k");
}
