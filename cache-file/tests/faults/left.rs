//! Writes that their caller has left, and later ones.

use std::{
    fs::File,
    pin::pin,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use cache_core::secs;

use crate::place::{Place, cache};

/// The first one waits for the lock, on a thread of its own.
#[tokio::test]
async fn write_that_was_left_does_not_follow_a_later_one() {
    let place = Place::new();
    let cache = cache(&place.path, "threads = 4");
    cache.set("k", &0, secs(600)).await.unwrap();
    let held = File::open(place.file().parent().unwrap()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    for round in 1..20 {
        held.lock().unwrap();
        let mut left = Box::pin(cache.set("k", &-round, secs(600)));
        assert!(left.as_mut().poll(&mut cx).is_pending());
        // sleeps: a thread of the store takes the call
        thread::sleep(Duration::from_millis(20));
        drop(left);
        let mut later = pin!(cache.set("k", &round, secs(600)));
        assert!(later.as_mut().poll(&mut cx).is_pending());
        held.unlock().unwrap();
        later.await.unwrap();
        // sleeps: the first one may still wait, and would get the lock now
        thread::sleep(Duration::from_millis(40));
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(round));
    }
}
