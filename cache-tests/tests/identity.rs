//! Aliases of one place share loads and pending deletes, however the settings spell the place.
//! These tests connect to no server.

use cache_core::{Caches, store::StoreId};
use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;

/// Returns the store ids of two aliases with these settings.
fn ids(a: &str, b: &str) -> (StoreId, StoreId) {
    let caches = Caches::from_toml(&format!("[caches.default]\n{a}\n[caches.b]\n{b}")).unwrap();
    let id = |alias| caches.get(alias).unwrap().backend().id();
    (id("default"), id("b"))
}

#[track_caller]
fn same(a: &str, b: &str) {
    let (a_id, b_id) = ids(a, b);
    assert_eq!(a_id, b_id, "\n{a}\n--\n{b}");
}

#[track_caller]
fn different(a: &str, b: &str) {
    let (a_id, b_id) = ids(a, b);
    assert_ne!(a_id, b_id, "\n{a}\n--\n{b}");
}

fn redis(location: &str, options: &str) -> String {
    format!("backend = 'redis'\nlocation = {location}\noptions = {{ {options} }}")
}

#[test]
fn redis_id_is_its_servers_database_and_service() {
    let one = redis("'redis://:pw@h:6379/1'", "");
    same(&one, &redis("'redis://u:other@H/1'", "connections = 4"));
    same(&one, &redis("'redis://:pw@h/1'", "").replace("'redis'", "'valkey'"));
    same(&one, &redis("['redis://h/1', 'redis://replica/1']", "topology = 'replicas'"));
    different(&one, &redis("'redis://h/2'", ""));
    different(&one, &redis("'redis://h:6380/1'", ""));
    different(&one, &redis("'redis+unix:///run/redis.sock?db=1'", ""));

    let of = |list: &str, name: &str| {
        redis(list, &format!("topology = 'sentinel', service_name = '{name}'"))
    };
    same(&of("['redis://a', 'redis://b']", "x"), &of("['redis://b', 'redis://a']", "x"));
    different(&of("['redis://a', 'redis://b']", "x"), &of("['redis://a', 'redis://b']", "y"));

    let cluster = |list: &str| redis(list, "topology = 'cluster'");
    same(&cluster("['redis://a', 'redis://b']"), &cluster("['redis://b', 'redis://a']"));
    different(&cluster("['redis://a']"), &redis("'redis://a'", ""));
}

#[test]
fn memcached_id_is_its_list_of_servers_and_weights() {
    let ring = |list: &str, options: &str| {
        format!("backend = 'memcached'\nlocation = {list}\noptions = {{ {options} }}")
    };
    same(&ring("['a', 'b:11212']", ""), &ring("'b:11212;A:11211'", "connections = 3"));
    different(&ring("['a', 'b']", ""), &ring("['a', 'c']", ""));
    different(&ring("['a', 'b']", ""), &ring("['a', 'b']", "weights = [1, 2]"));
    different(&ring("['a', 'b']", ""), &ring("'a'", ""));
}

#[test]
fn postgres_id_is_its_database_user_and_table() {
    let db = |url: &str, options: &str| {
        format!("backend = 'db'\nlocation = '{url}'\noptions = {{ {options} }}")
    };
    let one = db("postgres://u:pw@h/d", "");
    same(&one, &db("postgresql://u@h:5432/d", "").replace("'db'", "'postgres'"));
    for other in
        ["postgres://u@h/e", "postgres://v@h/d", "postgres://u@h:5433/d", "postgres://u@g/d"]
    {
        different(&one, &db(other, ""));
    }
    different(&one, &db("postgres://u@h/d", "table = 'other'"));
}

#[test]
fn sqlite_id_is_its_file_and_table_or_its_instance_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let db = |location: &str, table: &str| {
        format!("backend = 'db'\nlocation = '{location}'\noptions = {{ table = '{table}' }}")
    };
    let one = db(&format!("{path}/c.db"), "cache");
    same(&one, &db(&format!("sqlite://{path}/./c.db"), "cache").replace("'db'", "'sqlite'"));
    different(&one, &db(&format!("{path}/c.db"), "other"));
    different(&one, &db(&format!("{path}/d.db"), "cache"));
    different(&db(":memory:", "a"), &db(":memory:", "b"));
    different(&db(":memory:", "a"), &db(":memory:", "a"));
}

#[test]
fn directory_id_is_equal_for_every_path_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    std::fs::create_dir(format!("{path}/real")).unwrap();
    std::os::unix::fs::symlink(format!("{path}/real"), format!("{path}/link")).unwrap();
    let file = |path: &str| format!("backend = 'file'\nlocation = '{path}'");
    same(&file(&format!("{path}/real/c")), &file(&format!("{path}/link/c")));
    different(&file(&format!("{path}/real/c")), &file(&format!("{path}/real/d")));
}

#[test]
fn memory_id_is_its_instance_and_dummies_share_no_id() {
    let memory = |location: &str| format!("backend = 'memory'\nlocation = '{location}'");
    same(&memory("main"), &memory("main"));
    different(&memory("main"), &memory("other"));
    different("backend = 'memory'", "backend = 'memory'");
    different("backend = 'dummy'", "backend = 'dummy'");
}

#[test]
fn debug_shows_no_location() {
    let (id, _) = ids(&redis("'redis://marked:marked@marked/1'", ""), "backend = 'memory'");
    assert!(!format!("{id:?}").contains("marked"), "{id:?}");
}

/// The two tables once shared a load, which returned the value of the other table.
#[tokio::test]
async fn two_tables_in_memory_share_no_load() {
    let alias = |table| format!("backend = 'db'\nlocation = ':memory:'\noptions.table = '{table}'");
    let text = format!("[caches.default]\n{}\n[caches.b]\n{}", alias("a"), alias("b"));
    let caches = Caches::from_toml(&text).unwrap();
    let (a, b) = (caches.get("default").unwrap(), caches.get("b").unwrap());
    let load = || async {
        let inner = b.get_or_set("k", cache_core::secs(60), || async { "b".to_owned() });
        inner.await.unwrap() + "a"
    };
    assert_eq!(a.get_or_set("k", cache_core::secs(60), load).await.unwrap(), "ba");
}
