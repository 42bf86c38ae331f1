//! Every write of a handle with tags carries them.

use cache_core::{Cache, ErrorKind, Keyspace};

use crate::{MINUTE, World};

static USERS: Keyspace<u64, u32> = Keyspace::new("user");

/// Writes the key `k` by one operation, and `user:1:7` by those of keyspaces.
async fn write(cache: &Cache, operation: &str) {
    let load = |_| async { Ok::<_, std::io::Error>(1) };
    let load_many = |missing: Vec<&'static str>| async { missing.into_iter().map(|it| (it, 1)) };
    match operation {
        "set" => cache.set("k", &1, MINUTE).await.unwrap(),
        "set_many" => cache.set_many([("k", 1)], MINUTE).await.unwrap().into_result().unwrap(),
        "add" => assert!(cache.add("k", &1, MINUTE).await.unwrap()),
        "replace" => {
            cache.set("k", &0, MINUTE).await.unwrap();
            assert!(cache.replace("k", &1, MINUTE).await.unwrap());
        }
        "upsert" => {
            cache.upsert("k", MINUTE, |_: Option<u32>| Some(1)).await.unwrap();
        }
        "get_or_set" => assert_eq!(cache.get_or_set("k", MINUTE, || async { 1 }).await.unwrap(), 1),
        "get_or_set_many" => {
            cache.get_or_set_many(["k"], MINUTE, load_many).await.unwrap();
        }
        "fetch" => assert_eq!(cache.fetch("k").load(load).await.unwrap(), 1),
        "force" => assert_eq!(cache.fetch("k").force().load(load).await.unwrap(), 1),
        "prime" => cache.fetch("k").prime(&1).await.unwrap(),
        "at_version" => {
            cache.at_version(7).set("k", &1, MINUTE).await.unwrap();
            assert_eq!(cache.at_version(7).decr_version("k", 6).await.unwrap(), 1);
        }
        "keyspace" => USERS.set(cache, &7, &1).await.unwrap(),
        "keyspace_many" => {
            USERS.set_many(cache, [(7, 1)]).await.unwrap().into_result().unwrap();
        }
        "keyspace_load" => {
            USERS.get_or_set(cache, &7, || async { 1 }).await.unwrap();
        }
        "keyspace_fetch" => assert_eq!(USERS.fetch(cache, &7).load(load).await.unwrap(), 1),
        "keyspace_prime" => USERS.fetch(cache, &7).prime(&1).await.unwrap(),
        _ => panic!("{operation}"),
    }
}

const OPERATIONS: &[&str] = &[
    "set",
    "set_many",
    "add",
    "replace",
    "upsert",
    "get_or_set",
    "get_or_set_many",
    "fetch",
    "force",
    "prime",
    "at_version",
    "keyspace",
    "keyspace_many",
    "keyspace_load",
    "keyspace_fetch",
    "keyspace_prime",
];

#[tokio::test]
async fn every_write_carries_the_tags_of_its_handle() {
    for operation in OPERATIONS {
        let World { here, .. } = World::new();
        let key = if operation.starts_with("keyspace") { "user:1:7" } else { "k" };
        write(&here.with_tags(["t"]).with_tags(["u", "t"]), operation).await;
        assert_eq!(here.get::<u32>(key).await.unwrap(), Some(1), "{operation}: {key}");
        here.invalidate_tags(["other"]).await.unwrap();
        assert_eq!(here.get::<u32>(key).await.unwrap(), Some(1), "{operation}");
        for tag in ["t", "u"] {
            write(&here.with_tags(["t"]).with_tags(["u", "t"]), "set").await;
            if key != "k" {
                here.delete(key).await.unwrap();
                write(&here.with_tags(["t", "u"]), operation).await;
            }
            here.invalidate_tags([tag]).await.unwrap();
            assert_eq!(here.get::<u32>(key).await.unwrap(), None, "{operation}: {tag}");
        }
    }
}

#[tokio::test]
async fn tags_of_a_fetch_are_added_to_those_of_its_handle() {
    let World { here, .. } = World::new();
    for tag in ["t", "u"] {
        let load = |_| async { Ok::<_, std::io::Error>(1) };
        let tagged = here.with_tags(["t"]);
        tagged.fetch("k").tags(["u"]).load(load).await.unwrap();
        tagged.fetch("j").tags(["u"]).prime(&1).await.unwrap();
        here.invalidate_tags([tag]).await.unwrap();
        assert!(here.get_many::<u32, _>(["k", "j"]).await.unwrap().is_empty(), "{tag}");
    }
}

#[tokio::test]
async fn changed_value_keeps_the_tags_of_the_old_one() {
    let World { here, .. } = World::new();
    for tag in ["t", "u"] {
        here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
        let new = here.with_tags(["u"]).update("k", MINUTE, |it: u32| it + 1).await.unwrap();
        assert_eq!(new, Some(2));
        let new = here.update("k", MINUTE, |it: u32| it + 1).await.unwrap();
        assert_eq!(new, Some(3));
        assert_eq!(here.get::<u32>("k").await.unwrap(), Some(3));
        here.invalidate_tags([tag]).await.unwrap();
        assert_eq!(here.get::<u32>("k").await.unwrap(), None, "{tag}");
    }
    here.with_tags(["t"]).set("k", &1, MINUTE).await.unwrap();
    here.set("k", &2, MINUTE).await.unwrap();
    here.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), Some(2), "`set` replaces the tags, too");
}

#[tokio::test]
async fn counters_have_no_tags() {
    let World { here, .. } = World::new();
    let tagged = here.with_tags(["t"]);
    here.set("n", &1, MINUTE).await.unwrap();
    for refused in [
        tagged.incr("n", 1).await,
        tagged.decr("n", 1).await,
        tagged.incr_or("n", 1, 0, MINUTE).await,
        tagged.incr_or("m", 1, 0, MINUTE).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(here.get::<i64>("n").await.unwrap(), Some(1));
    tagged.set("k", &5, MINUTE).await.unwrap();
    assert_eq!(here.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    assert_eq!(here.get::<i64>("k").await.unwrap(), Some(5), "as it was");
}

#[tokio::test]
async fn lifetime_of_zero_needs_no_tags() {
    let World { here, .. } = World::new();
    let tagged = here.with_tags(["t"]);
    tagged.set("k", &1, MINUTE).await.unwrap();
    tagged.set("k", &1, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(here.get::<u32>("k").await.unwrap(), None);
}
