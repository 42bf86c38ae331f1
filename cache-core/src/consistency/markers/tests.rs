use std::sync::atomic::AtomicU64;

use super::*;
use crate::error::{Error, ErrorKind, Result};

const STALENESS: Duration = Duration::from_secs(1);
const LASTS: Duration = Duration::from_secs(5);

/// A table whose time is set by the test, in milliseconds.
fn markers() -> (Markers, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(10_000));
    let clock = Arc::clone(&time);
    let now = move || Duration::from_millis(clock.load(Ordering::SeqCst));
    (Markers::new(true, now), time)
}

fn begin<'a>(markers: &'a Markers, marker: &Arc<Marker>) -> Step<'a> {
    markers.begin(marker, STALENESS, LASTS)
}

fn read<'a>(markers: &'a Markers, marker: &Arc<Marker>) -> Read<'a> {
    match begin(markers, marker) {
        Step::Read(read) => read,
        Step::Known(_) | Step::Wait(..) => panic!("the marker is known, or another caller reads"),
    }
}

fn failure() -> Result<Version> {
    Err(Error::new(ErrorKind::Unavailable, "connection refused"))
}

#[test]
fn version_survives_its_text_and_changes_with_each_outer_version() {
    for number in [1, 31, 32, u64::MAX, 0x0123_4567_89ab_cdef] {
        let version = Version::new(number);
        assert_eq!(Version::parse(version.text().as_bytes()), Some(version));
    }
    for text in ["", "0000000000000", "0", "zzzzzzzzzzzzz", "vvvvvvvvvvvvv", "00000000000001"] {
        assert_eq!(Version::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Version::new(0), Version::new(1), "zero stands for an unknown version");
    let [a, b, c] = [1, 2, 3].map(Version::new);
    assert_ne!(c.within(a), c.within(b));
    assert_ne!(a.within(c), b.within(c));
    assert_ne!(a.within(b), b.within(a));
    assert_ne!(Version::random(), Version::random());
}

#[test]
fn version_is_remembered_until_its_read_began_too_long_ago() {
    let (markers, time) = markers();
    let marker = markers.marker("p:tag:a");
    let version = Version::random();
    let reading = read(&markers, &marker);
    time.fetch_add(400, Ordering::SeqCst);
    reading.complete(Ok(version));
    time.fetch_add(599, Ordering::SeqCst);
    assert_eq!(markers.known(&marker, STALENESS), Some(version));
    assert_eq!(markers.known(&marker, Duration::ZERO), None);
    time.fetch_add(1, Ordering::SeqCst);
    assert_eq!(markers.known(&marker, STALENESS), None);
    assert!(Arc::ptr_eq(&marker, &markers.marker("p:tag:a")));
}

#[test]
fn read_that_began_before_a_replacement_is_not_remembered() {
    let (markers, _) = markers();
    let marker = markers.marker("p:tag:a");
    let early = read(&markers, &marker);
    let replacement = markers.replace(&marker);
    let new = replacement.version();
    replacement.complete();
    early.complete(Ok(Version::random()));
    assert_eq!(markers.known(&marker, STALENESS), Some(new));

    markers.forget_all();
    let early = read(&markers, &marker);
    drop(markers.replace(&marker));
    early.complete(Ok(Version::random()));
    assert_eq!(markers.known(&marker, STALENESS), None, "the replacement failed");
}

#[test]
fn caller_after_a_replacement_does_not_wait_for_an_earlier_read() {
    let (markers, time) = markers();
    let marker = markers.marker("p:tag:a");
    let early = read(&markers, &marker);
    assert!(matches!(begin(&markers, &marker), Step::Wait(..)));
    markers.replace(&marker).complete();
    time.fetch_add(1000, Ordering::SeqCst);
    let late = read(&markers, &marker);
    early.complete(failure());
    assert!(matches!(begin(&markers, &marker), Step::Wait(..)), "for the later read");
    drop(late);
}

#[test]
fn of_two_concurrent_replacements_neither_is_remembered() {
    let (markers, _) = markers();
    let marker = markers.marker("p:tag:a");
    let (first, second) = (markers.replace(&marker), markers.replace(&marker));
    second.complete();
    first.complete();
    assert_eq!(markers.known(&marker, STALENESS), None);
    assert!(!read(&markers, &marker).replaces(), "both succeeded");
}

#[test]
fn failed_replacement_is_pending_until_one_succeeds() {
    let (markers, _) = markers();
    let marker = markers.marker("p:tag:a");
    drop(markers.replace(&marker));
    assert!(markers.begin_task(LASTS) && !markers.begin_task(LASTS), "one task");
    assert_eq!(markers.pending(9).len(), 1);
    let attempt = read(&markers, &marker);
    assert!(attempt.replaces());
    attempt.complete(failure());
    let attempt = read(&markers, &marker);
    assert!(attempt.replaces() && markers.continue_task(LASTS));
    let version = Version::random();
    attempt.complete(Ok(version));
    assert_eq!(markers.known(&marker, STALENESS), Some(version));
    assert!(!marker.is_pending() && !markers.continue_task(LASTS));

    drop(markers.replace(&marker));
    markers.replace(&marker).complete();
    assert!(!marker.is_pending() && markers.known(&marker, STALENESS).is_some());
}

#[test]
fn replacement_that_fails_during_another_one_stays_pending() {
    let (markers, _) = markers();
    let marker = markers.marker("p:tag:a");
    let (first, second) = (markers.replace(&marker), markers.replace(&marker));
    drop(second);
    // Its version may have reached the store before the second one began.
    first.complete();
    assert!(marker.is_pending());
    assert!(read(&markers, &marker).replaces());
}

#[tokio::test]
async fn callers_share_a_read_and_begin_again_if_it_is_dropped() {
    let (markers, time) = markers();
    let marker = markers.marker("p:tag:a");
    let reading = read(&markers, &marker);
    let Step::Wait(mut result, until) = begin(&markers, &marker) else { panic!("not shared") };
    assert_eq!(until, LASTS);
    let version = Version::random();
    reading.complete(Ok(version));
    let got = result.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(got.unwrap().unwrap(), version);

    markers.forget_all();
    let reading = read(&markers, &marker);
    let Step::Wait(mut result, _) = begin(&markers, &marker) else { panic!("not shared") };
    drop(reading);
    assert!(result.wait_for(Option::is_some).await.is_err());

    let never_polled = read(&markers, &marker);
    time.fetch_add(999, Ordering::SeqCst);
    assert!(matches!(begin(&markers, &marker), Step::Wait(..)));
    time.fetch_add(1, Ordering::SeqCst);
    // The result would be older than the staleness.
    let next = read(&markers, &marker);
    drop(never_polled);
    assert!(matches!(begin(&markers, &marker), Step::Wait(..)), "the later read is kept");
    drop(next);
}

#[test]
fn unheld_markers_are_forgotten_when_the_table_is_full() {
    let (markers, time) = markers();
    let held = markers.marker("held");
    read(&markers, &held).complete(Ok(Version::random()));
    drop(markers.replace(&markers.marker("pending")));
    let recent = Version::random();
    time.fetch_add(1000, Ordering::SeqCst);
    read(&markers, &markers.marker("recent")).complete(Ok(recent));
    for n in 0..3 * MAX_MARKERS {
        markers.marker(&n.to_string());
        assert!(markers.lock().markers.len() <= MAX_MARKERS);
    }
    assert!(Arc::ptr_eq(&held, &markers.marker("held")));
    assert!(markers.marker("pending").is_pending());
    assert_eq!(markers.known(&markers.marker("recent"), STALENESS), Some(recent));
}

#[test]
fn pending_replacements_are_bounded() {
    let (markers, _) = markers();
    for n in 0..MAX_PENDING {
        assert!(markers.add_pending(&markers.marker(&n.to_string())));
        assert!(markers.add_pending(&markers.marker("0")), "a marker counts once");
    }
    let marker = markers.marker("more");
    let version = Version::random();
    read(&markers, &marker).complete(Ok(version));
    assert!(!markers.add_pending(&marker));
    assert_eq!(markers.known(&marker, STALENESS), None, "at least forgotten");
    assert_eq!(markers.pending(usize::MAX).len(), MAX_PENDING);
    assert!(markers.add_pending(&markers.marker("0")), "it is pending already");
}

#[test]
fn markers_that_callers_hold_are_all_kept() {
    let (markers, _) = markers();
    let held: Vec<_> = (0..2 * MAX_MARKERS).map(|n| markers.marker(&n.to_string())).collect();
    for (n, marker) in held.iter().enumerate() {
        assert!(Arc::ptr_eq(marker, &markers.marker(&n.to_string())));
    }
}
