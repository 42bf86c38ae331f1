//! Several processes in one directory.

use cache_core::secs;

use crate::{
    child::{Child, is_pattern},
    place::{Place, cache},
};

const PROCESSES: usize = 4;

fn start(task: &str, place: &Place) -> Vec<Child> {
    (0..PROCESSES).map(|_| Child::start(task, &place.path, "")).collect()
}

#[tokio::test]
async fn increments_of_all_processes_are_counted() {
    let place = Place::new();
    let children = start("incr 1000", &place);
    let mut seen: Vec<i64> =
        children.into_iter().flat_map(Child::all).map(|it| it.parse().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(1..=4000), "each number is returned once");
}

#[tokio::test]
async fn concurrent_updates_lose_no_change() {
    let place = Place::new();
    cache(&place.path, "").set("sum", &0, secs(600)).await.unwrap();
    for child in start("update 300", &place) {
        assert!(child.all().iter().all(|it| it.starts_with("Some")));
    }
    assert_eq!(cache(&place.path, "").get::<i64>("sum").await.unwrap(), Some(1200));
}

#[tokio::test]
async fn add_succeeds_in_one_of_several_processes() {
    let place = Place::new();
    let answers: Vec<_> = start("add 1000", &place).into_iter().map(Child::all).collect();
    for n in 0..1000 {
        let winners = answers.iter().filter(|it| it[n] == "true").count();
        assert_eq!(winners, 1, "add:{n}");
    }
}

/// In a full store, each file serves one key after the other, of all processes.
#[tokio::test]
async fn key_never_has_the_value_of_another() {
    let place = Place::new();
    let start = |_| Child::start("churn 4000", &place.path, "max_entries = 100");
    for child in (0..PROCESSES).map(start).collect::<Vec<_>>() {
        let answers = child.all();
        assert_eq!(answers.len(), 4000);
        assert!(answers.iter().all(|it| !it.contains("error")), "{answers:?}");
    }
    let files = place.files().len();
    assert!((50..=100).contains(&files), "{files}");
    assert_eq!(place.all_files().len(), files, "a process that ends leaves no spare files");
}

/// Reads 100,000 times while others overwrite and touch: no read is torn, mixed or a miss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_during_writes_is_whole() {
    let place = Place::new();
    drop(Child::start("write 1", &place.path, "").all());
    let writers: Vec<_> = ["write", "write", "touch"]
        .map(|task| Child::start_in("exec >/dev/null", task, &place.path, ""))
        .into();
    let cache = cache(&place.path, "direct_reads = true");
    for n in 0..100_000 {
        let key = ["small", "page", "large"][n % 3];
        let value = cache.bytes().get(key).await.unwrap();
        assert!(value.is_some_and(|it| is_pattern(&it)), "read {n} of `{key}`");
        if n % 1000 == 0 {
            assert!(cache.has_key(key).await.unwrap());
        }
    }
    drop(writers);
}
