//! The ACL rights that the book lists are sufficient, and a command beyond them is an error with
//! this reason.

use std::collections::BTreeSet;

use cache_conformance::{Harness, run_backend};
use cache_core::{ErrorKind, Timeout};
use test_servers::{
    Redis, RedisCluster, Sentinel, Sentinels, Server as _, resp::Connection, slot_of,
};

use crate::support::{CLUSTERED, LARGE_IS_SMALL, cache, store};

const CHAPTER: &str = include_str!("../../../docs/src/redis.md");

/// Returns the words of the chapter's line with this beginning.
fn line(begin: &str) -> Vec<&'static str> {
    let line = CHAPTER.lines().find(|it| it.starts_with(begin));
    line.unwrap_or_else(|| panic!("no line `{begin}…`")).split_ascii_whitespace().collect()
}

/// Returns the user's line, with the additional rights for these cases.
fn user(cases: &[&str]) -> Vec<&'static str> {
    let besides = cases.iter().flat_map(|it| line(it)).filter(|it| it.starts_with('+'));
    line("ACL SETUSER shop ").into_iter().chain(besides).collect()
}

/// Returns the same user with access to all keys, because the suite uses prefixes of its own.
fn of_all_keys(user: Vec<&'static str>) -> Vec<&'static str> {
    user.into_iter().map(|it| if it.starts_with('~') { "~*" } else { it }).collect()
}

fn as_user(url: &str) -> String {
    url.replace("redis://", "redis://shop:secret@")
}

/// Returns the rights, by the server's names of the commands.
fn rights(user: &[&str]) -> BTreeSet<String> {
    user.iter().filter_map(|it| it.strip_prefix('+')).map(str::to_owned).collect()
}

/// Returns the commands that the server executed, also from scripts, except those that need no
/// right.
fn done(redis: &Redis) -> BTreeSet<String> {
    const NO_RIGHT: &[&str] = &["hello", "auth"];
    const THIS_TEST: &[&str] = &["acl|setuser", "info", "config|resetstat"];
    let stats = redis.command(&["INFO", "commandstats"]).unwrap().text();
    let called = stats.lines().filter(|it| !it.contains(":calls=0,"));
    let names = called.filter_map(|it| it.strip_prefix("cmdstat_")?.split_once(':'));
    let names = names.map(|(name, _)| name);
    names
        .filter(|it| !NO_RIGHT.contains(it) && !THIS_TEST.contains(it))
        .map(str::to_owned)
        .collect()
}

/// The whole suite passes with these rights, and uses each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_in_the_book_are_sufficient_and_each_is_needed() {
    let redis = Redis::start().unwrap();
    let user = of_all_keys(user(&["clear_store", "another database", "client_name"]));
    redis.command(&user).unwrap();
    redis.command(&["CONFIG", "RESETSTAT"]).unwrap();
    let location = vec![format!("{}/1", as_user(&redis.url()))];
    let more = format!("{LARGE_IS_SMALL}client_name = \"shop\"\n");
    let harness = Harness::new("acl", move || store(&location, &more)).may_clear_store();
    run_backend(harness).await;
    assert_eq!(done(&redis), rights(&user));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_right_is_an_error_with_the_reason() {
    let redis = Redis::start().unwrap();
    redis.command(&user(&[])).unwrap();
    let of = |prefix| cache(&[as_user(&redis.url())], &format!("key_prefix = \"{prefix}\"\n"));
    let (shop, other) = (of("shop").strict(), of("other").strict());
    shop.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(shop.incr("k", 1).await.unwrap(), 2);
    shop.check().await.unwrap();
    shop.clear().await.unwrap();
    let keys = other.set("k", &1, Timeout::Default).await.unwrap_err();
    for error in [keys, shop.clear_store().await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.to_string().contains("ACL LOG"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_in_the_book_are_sufficient_for_sentinels() {
    let sentinels = Sentinels::start(1, 1).unwrap().patient().unwrap();
    let user = of_all_keys(user(&["Sentinel"]));
    for it in sentinels.nodes() {
        it.command(&user).unwrap();
    }
    for it in sentinels.sentinels() {
        let mut connection = Connection::open(it.address()).unwrap();
        connection.command(&line("ACL SETUSER watcher ")).unwrap();
        connection.command(&["ACL", "SETUSER", "default", "nocommands", "+auth"]).unwrap();
    }
    let urls: Vec<_> =
        sentinels.sentinels().iter().map(Sentinel::url).map(|it| as_user(&it)).collect();
    for read_from in ["leader", "replica"] {
        let more = format!(
            "{LARGE_IS_SMALL}topology = \"sentinel\"\nservice_name = \"{}\"\nsentinel_username = \"watcher\"\n\
             sentinel_password = \"secret\"\nread_from = \"{read_from}\"\n",
            sentinels.name()
        );
        let cache = cache(&urls, &more).strict();
        cache.check().await.unwrap();
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_in_the_book_are_sufficient_for_a_cluster() {
    let cluster = RedisCluster::start(3, 3).unwrap().patient().unwrap();
    let user = of_all_keys(user(&["Cluster"]));
    for it in cluster.nodes() {
        it.command(&user).unwrap();
    }
    let urls: Vec<_> = cluster.urls().iter().map(|it| as_user(it)).collect();
    let (location, more) = (urls.clone(), format!("{LARGE_IS_SMALL}{CLUSTERED}"));
    run_backend(Harness::new("acl", move || store(&location, &more))).await;

    let readonly = line("… read_from");
    let readonly = ["ACL", "SETUSER", "shop"].into_iter().chain(readonly);
    let readonly: Vec<_> = readonly.filter(|it| !it.starts_with(['…', 'r', '=', '"'])).collect();
    for it in cluster.nodes() {
        it.command(&readonly).unwrap();
    }
    let more = format!("{LARGE_IS_SMALL}{CLUSTERED}read_from = \"replica\"\n");
    let cache = cache(&urls, &more).strict();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cache.check().await.unwrap();
    cluster.wait_for_replicas().unwrap();
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(1));

    // A migrating key is read on the target, after `ASKING`.
    let slot = slot_of(":1:k");
    let from = cluster.master_of(slot).unwrap().port();
    let to = cluster.master_of((slot + 8192) % 16384).unwrap();
    assert_ne!(to.port(), from);
    let mut moving = cluster.begin_move(slot, to).unwrap();
    moving.move_keys(10).unwrap();
    assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    moving.finish().unwrap();
}
