//! Keyspaces whose values tell their revision.

use std::{convert::Infallible, sync::Arc};

use cache_core::{Cache, Fetch, Keyspace, LoadContext, Loaded, secs, testing::Model};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{MINUTE, processes, world};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    version: u64,
}

static USERS: Keyspace<u64, User> =
    Keyspace::new("user").ttl(secs(300)).revision(|user: &User| user.version);

fn user(name: &str, version: u64) -> User {
    User { name: name.into(), version }
}

async fn name(cache: &Cache) -> Option<String> {
    USERS.get(cache, &7).await.unwrap().map(|it| it.name)
}

#[tokio::test]
async fn every_write_of_a_keyspace_carries_the_revision() {
    let ([cache, other], ..) = processes(|it| it);
    for call in 0..8 {
        USERS.set(&cache, &7, &user("new", 5)).await.unwrap();
        let old = user("old", 4);
        match call {
            0 => USERS.set(&cache, &7, &old).await.unwrap(),
            1 => assert!(USERS.set_many(&cache, [(7, &old)]).await.unwrap().is_empty()),
            2 => USERS.fetch(&cache, &7).prime(&old).await.unwrap(),
            3 => {
                let load = |_| async { Ok::<_, Infallible>(user("old", 4)) };
                let loaded = USERS.fetch(&cache, &7).with(Fetch::force).load(load).await;
                assert_eq!(loaded.unwrap(), old);
            }
            4 => {
                let load = |_| async { Ok::<_, Infallible>(Loaded::Value(user("old", 4))) };
                USERS.fetch(&cache, &7).with(Fetch::force).outcome(load).await.unwrap();
            }
            5 => {
                USERS.delete(&cache, &7).await.unwrap();
                let load = |_| async {
                    USERS.set_revision(&other, &7, &user("new", 5), 5).await.unwrap();
                    [(7, user("old", 4))]
                };
                USERS.get_or_set_many(&cache, [7], load).await.unwrap();
            }
            6 => assert!(!USERS.set_revision(&cache, &7, &old, 4).await.unwrap()),
            _ => assert!(!USERS.delete_revision(&cache, &7, 4, MINUTE).await.unwrap()),
        }
        assert_eq!(name(&cache).await.as_deref(), Some("new"), "call {call}");
        assert_eq!(cache.stats().revisions_refused, call + 1);
    }
    // A loader that knows better.
    let load = |context: LoadContext| async move {
        context.revision(9);
        Ok::<_, Infallible>(user("newest", 4))
    };
    USERS.fetch(&cache, &7).with(Fetch::force).load(load).await.unwrap();
    assert_eq!(name(&cache).await.as_deref(), Some("newest"));
    assert!(!USERS.set_revision(&cache, &7, &user("old", 8), 8).await.unwrap());
}

/// One process reads the old row and is late.
#[tokio::test]
async fn late_get_or_set_of_a_keyspace_stores_nothing() {
    let ([one, two], ..) = processes(|it| it);
    for deletes in [false, true] {
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let late = tokio::spawn({
            let (cache, began, go_on) = (one.clone(), Arc::clone(&began), Arc::clone(&go_on));
            async move {
                let load = || async move {
                    began.notify_one();
                    go_on.notified().await;
                    user("old", 4)
                };
                USERS.get_or_set(&cache, &7, load).await
            }
        });
        began.notified().await;
        if deletes {
            assert!(USERS.delete_revision(&two, &7, 4, MINUTE).await.unwrap());
        } else {
            USERS.set(&two, &7, &user("new", 5)).await.unwrap();
        }
        go_on.notify_one();
        assert_eq!(late.await.unwrap().unwrap().name, "old", "for its caller");
        let left = (!deletes).then(|| "new".to_owned());
        assert_eq!(name(&one).await, left);
        USERS.delete(&one, &7).await.unwrap();
    }
}

#[tokio::test]
async fn newest_value_of_a_key_in_a_batch_counts() {
    let model = Cache::builder(Model::default()).revisions(true).build("test").unwrap();
    for cache in [model, world().0] {
        let rows = [(7, user("b", 5)), (8, user("x", 1)), (7, user("c", 6)), (7, user("a", 4))];
        assert!(USERS.set_many(&cache, rows).await.unwrap().is_empty());
        assert_eq!(name(&cache).await.as_deref(), Some("c"));
        assert_eq!(USERS.get_many(&cache, [7, 8]).await.unwrap().len(), 2);
        let none: [(u64, User); 0] = [];
        assert!(USERS.set_many(&cache, none).await.unwrap().is_empty());
        let many = (0..250).map(|it| (it, user("many", it + 10)));
        assert!(USERS.set_many(&cache, many).await.unwrap().is_empty());
        assert_eq!(USERS.get_many(&cache, 0..250).await.unwrap().len(), 250);
    }
}

#[test]
fn blocking_keyspace_has_revisions() {
    let cache = Cache::builder(Model::default()).revisions(true).build("test").unwrap().blocking();
    let users = USERS.blocking();
    users.set(&cache, &7, &user("new", 5)).unwrap();
    assert!(!users.set_revision(&cache, &7, &user("old", 4), 4).unwrap());
    assert_eq!(users.get(&cache, &7).unwrap().unwrap().name, "new");
    assert!(users.delete_revision(&cache, &7, 5, MINUTE).unwrap());
    let load = |_| Ok::<_, Infallible>(user("old", 5));
    users.fetch(&cache, &7, |it| it, load).unwrap();
    assert_eq!(users.get(&cache, &7).unwrap(), None);
    assert_eq!(users.get_or_set(&cache, &7, || user("old", 5)).unwrap().version, 5);
    assert_eq!(users.get(&cache, &7).unwrap(), None);
}
