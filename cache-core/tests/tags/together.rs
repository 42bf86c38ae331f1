//! Tags beside revisions, namespaces and fences.

use std::sync::Arc;

use cache_core::{
    Cache, FetchSettings, Keyspace, secs,
    store::Inline,
    testing::{FakeClock, Model},
};
use serde::{Deserialize, Serialize};

use crate::{HOUR, MINUTE};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    version: u64,
}

static USERS: Keyspace<u64, User> = Keyspace::new("user").ttl(secs(60)).revision(|it| it.version);

fn user(name: &str, version: u64) -> User {
    User { name: name.into(), version }
}

fn cache() -> Cache {
    let time = FakeClock::new();
    let mut fetch = FetchSettings::with_grace(HOUR);
    fetch.fenced = Some(true);
    let store = Arc::new(Inline::new(Model::new(time.clock())));
    let builder = Cache::builder(store).clock(time.clock()).tags(true).revisions(true);
    builder.fetch(fetch).build("test").unwrap()
}

#[tokio::test]
async fn value_with_a_revision_has_the_tags_of_its_handle() {
    let cache = cache();
    let tagged = cache.with_tags(["org:3"]);
    assert!(tagged.set_revision("k", &1, 7, MINUTE).await.unwrap());
    USERS.set(&tagged, &1, &user("Ada", 4)).await.unwrap();
    USERS.set_many(&tagged, [(2, user("Bob", 4))]).await.unwrap().into_result().unwrap();
    USERS.fetch(&tagged, &3).prime(&user("Cy", 4)).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(1));
    assert_eq!(USERS.get_many(&cache, [1, 2, 3]).await.unwrap().len(), 3);
    cache.invalidate_tags(["org:3"]).await.unwrap();
    assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
    assert!(USERS.get_many(&cache, [1, 2, 3]).await.unwrap().is_empty());
    assert!(!USERS.has_key(&cache, &2).await.unwrap());
}

#[tokio::test]
async fn invalidated_value_is_replaced_by_another_one_of_its_revision_and_by_no_older_one() {
    let cache = cache();
    let tagged = cache.with_tags(["org:3"]);
    assert!(tagged.set_revision("k", &1, 7, MINUTE).await.unwrap());
    assert!(!tagged.set_revision("k", &2, 7, MINUTE).await.unwrap(), "equal and different");
    cache.invalidate_tags(["org:3"]).await.unwrap();
    assert!(!tagged.set_revision("k", &0, 6, MINUTE).await.unwrap());
    assert!(tagged.set_revision("k", &2, 7, MINUTE).await.unwrap());
    assert_eq!(cache.get("k").await.unwrap(), Some(2));

    // The same by a load, which is fenced.
    cache.invalidate_tags(["org:3"]).await.unwrap();
    let load = |context: cache_core::LoadContext| async move {
        context.revision(7);
        Ok::<_, std::convert::Infallible>(3)
    };
    assert_eq!(tagged.fetch("k").ttl(MINUTE).load(load).await.unwrap(), 3);
    assert_eq!(cache.get("k").await.unwrap(), Some(3));
    assert!(!cache.set_revision("k", &0, 6, MINUTE).await.unwrap());
}

#[tokio::test]
async fn touched_value_keeps_its_tags_and_its_revision() {
    let cache = cache();
    cache.with_tags(["t"]).set_revision("k", &1, 7, MINUTE).await.unwrap();
    assert!(cache.touch("k", HOUR).await.unwrap());
    assert!(!cache.set_revision("k", &0, 6, MINUTE).await.unwrap());
    cache.invalidate_tags(["t"]).await.unwrap();
    assert!(!cache.touch("k", HOUR).await.unwrap());
    assert_eq!(cache.get::<u32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn floor_outlives_an_invalidation_and_falls_with_its_namespace() {
    let cache = cache();
    let users = cache.namespace("users").unwrap();
    let tagged = users.with_tags(["t"]);
    assert!(tagged.set_revision("k", &1, 7, MINUTE).await.unwrap());
    assert!(users.delete_revision("k", 7, MINUTE).await.unwrap());
    cache.invalidate_tags(["t"]).await.unwrap();
    assert!(!tagged.set_revision("k", &1, 7, MINUTE).await.unwrap());
    assert_eq!(users.get::<u32>("k").await.unwrap(), None);
    users.clear().await.unwrap();
    assert!(tagged.set_revision("k", &1, 7, MINUTE).await.unwrap());
    assert_eq!(users.get("k").await.unwrap(), Some(1));
    assert_eq!(cache.get::<u32>("k").await.unwrap(), None, "another key");
    cache.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(users.get::<u32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn batch_with_revisions_in_a_namespace_is_cleared_with_it() {
    let cache = cache();
    let users = cache.namespace("users").unwrap();
    let both = [(1, user("Ada", 1)), (2, user("Bob", 1))];
    USERS.set_many(&users, both).await.unwrap().into_result().unwrap();
    assert_eq!(USERS.get_many(&users, [1, 2]).await.unwrap().len(), 2);
    assert!(USERS.get_many(&cache, [1, 2]).await.unwrap().is_empty());
    users.clear().await.unwrap();
    assert!(USERS.get_many(&users, [1, 2]).await.unwrap().is_empty());
}
