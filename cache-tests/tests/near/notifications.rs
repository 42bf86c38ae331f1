//! Notifications of changed keys, as another program sees them: who sends them, and what they hold.

use std::future::poll_fn;

use cache_core::{Cache, Caches, ErrorKind, Settings, secs};
use test_servers::{Postgres, Server as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::far::sql;

const NEAR: &str = "near.timeout = '10s'";
const TRIGGERS: &str = "options.notify_triggers = true";

fn cache(location: &str, more: &str) -> Cache {
    let text = format!(
        "[caches.default]\nbackend = 'db'\nlocation = '{location}'\n\
         deadline = '20s'\nconnect_deadline = '20s'\n{more}\n"
    );
    Caches::from_toml(&text).unwrap().get("default").unwrap().strict()
}

/// Another program that listens.
struct Listener {
    client: Client,
    payloads: UnboundedReceiver<String>,
}

impl Listener {
    /// The table must exist.
    async fn start(server: &Postgres) -> Self {
        let (client, mut connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        let (sender, payloads) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(it) = message {
                    let _ = sender.send(it.payload().to_owned());
                }
            }
        });
        let listener = Self { client, payloads };
        let sql = "SELECT 'cache_db_1_' || 'cache'::regclass::oid";
        let channel: String = listener.client.query_one(sql, &[]).await.unwrap().get(0);
        listener.client.batch_execute(&format!("LISTEN {channel}")).await.unwrap();
        listener
    }

    /// Returns all payloads until now.
    async fn received(&mut self) -> Vec<String> {
        // The server sends what was committed before it answers.
        self.client.batch_execute("").await.unwrap();
        std::iter::from_fn(|| self.payloads.try_recv().ok()).collect()
    }
}

/// Makes each kind of write once, and returns the payloads of each.
async fn payloads(cache: &Cache, listener: &mut Listener) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    macro_rules! write {
        ($($write:expr),+ $(,)?) => { $(
            $write.await.unwrap();
            all.push(listener.received().await);
        )+ };
    }
    write!(
        cache.set("secret", &"value", secs(60)),
        cache.set("secret", &"value", secs(60)),
        cache.add("k", &1, secs(60)),
        cache.add("k", &1, secs(60)), // not written
        cache.replace("k", &2, secs(60)),
        cache.touch("k", secs(90)),
        cache.incr("k", 1),
        cache.incr_or("n", 1, 0, secs(60)),
        cache.update("k", secs(600), |it: i64| it + 1),
        cache.incr_version("k", 1),
        cache.incr_version("n", 1),
        cache.pop::<String>("secret"),
        cache.pop::<String>("secret"), // not written
        async { cache.set_many([("a", &1), ("b", &2)], secs(60)).await?.into_result() },
        cache.delete_many(["a", "b", "c"]),
        async { cache.set_many([("a", &1)], secs(60)).await?.into_result() },
        cache.delete("a"),
        cache.delete("a"), // not written
        cache.set("a", &1, secs(60)),
        cache.clear(),
        cache.set("a", &1, secs(60)),
        cache.clear_store(),
        cache.get::<i64>("k"),
    );
    all
}

/// Returns what each write of [`payloads`] must send, of which `clear_store` sends this.
fn expected(cleared: &'static str) -> Vec<Vec<&'static str>> {
    vec![
        vec![":1:secret"],
        vec![":1:secret"],
        vec![":1:k"],
        vec![],
        vec![":1:k"],
        vec![":1:k"],
        vec![":1:k"],
        vec![":1:n"],
        vec![":1:k"],
        vec![":1:k", ":2:k"],
        vec![":1:n", ":2:n"],
        vec![":1:secret"],
        vec![],
        vec![":1:a\\,:1:b"],
        vec![":1:a\\,:1:b"],
        vec![":1:a"],
        vec![":1:a"],
        vec![],
        vec![":1:a"],
        vec![":1:a\\,:2:k\\,:2:n"],
        vec![":1:a"],
        vec![cleared],
        vec![],
    ]
}

/// Sorts the keys in each payload, and the payloads of each write.
fn sorted(mut all: Vec<Vec<String>>) -> Vec<Vec<String>> {
    for payloads in &mut all {
        for payload in &mut *payloads {
            let mut keys: Vec<&str> = payload.split("\\,").collect();
            keys.sort_unstable();
            *payload = keys.join("\\,");
        }
        payloads.sort_unstable();
    }
    all
}

#[tokio::test]
async fn each_write_notifies_once_and_names_its_keys() {
    let server = Postgres::start().unwrap();
    // Without triggers the writes notify, and with triggers these alone: not twice.
    for (near, cleared) in [(NEAR, ""), (TRIGGERS, ":1:a")] {
        let cache = cache(&server.url(), near);
        cache.check().await.unwrap();
        let mut listener = Listener::start(&server).await;
        assert_eq!(sorted(payloads(&cache, &mut listener).await), expected(cleared), "{near}");
    }
    let both = cache(&server.url(), &format!("{TRIGGERS}\n{NEAR}"));
    let mut listener = Listener::start(&server).await;
    let all = sorted(payloads(&both, &mut listener).await);
    assert_eq!(all, expected(":1:a"), "near and triggers");
    // An alias that does not know of the triggers: the server drops equal notifications.
    let unaware = cache(&server.url(), NEAR);
    for key in ["k", "k"] {
        unaware.set(key, &1, secs(60)).await.unwrap();
        assert_eq!(listener.received().await, [":1:k"]);
    }
}

#[tokio::test]
async fn alias_without_near_tier_or_without_messages_does_not_notify() {
    let server = Postgres::start().unwrap();
    for near in ["", "near.invalidation = 'none'", "options.notify_triggers = false"] {
        let cache = cache(&server.url(), near);
        cache.check().await.unwrap();
        let mut listener = Listener::start(&server).await;
        let all = payloads(&cache, &mut listener).await;
        assert!(all.iter().all(Vec::is_empty), "{near}: {all:?}");
    }
}

#[tokio::test]
async fn keys_of_a_batch_share_payloads_below_the_limit() {
    let server = Postgres::start().unwrap();
    for near in [NEAR, TRIGGERS] {
        let cache = cache(&server.url(), near);
        cache.check().await.unwrap();
        let mut listener = Listener::start(&server).await;
        for long in ["x".repeat(220), "ü".repeat(110)] {
            let keys: Vec<String> = (0..1000).map(|it| format!("{long}{it:04}")).collect();
            let items = || keys.iter().map(|it| (it.as_str(), &1));
            cache.set_many(items(), secs(60)).await.unwrap().into_result().unwrap();
            let set = listener.received().await;
            cache.delete_many(keys.iter().map(String::as_str)).await.unwrap();
            for payloads in [set, listener.received().await] {
                let keys: usize = payloads.iter().map(|it| it.split("\\,").count()).sum();
                assert_eq!(keys, 1000);
                // Each ü takes 8 bytes.
                let fewest = payloads.iter().map(String::len).sum::<usize>().div_ceil(8000);
                assert!(payloads.len() <= 3 * fewest, "{near}: {} of {fewest}", payloads.len());
                assert!(payloads.iter().all(|it| (1..8000).contains(&it.len())));
            }
        }
    }
}

/// A key that no cache writes, and more keys than a trigger names.
#[tokio::test]
async fn keys_that_cannot_be_named_stand_for_all() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &format!("{TRIGGERS}\n{NEAR}"));
    cache.check().await.unwrap();
    let mut listener = Listener::start(&server).await;
    let client = sql(&server).await;
    let long = "INSERT INTO cache (key, value) VALUES (repeat('x', $1::int)::bytea, '')";
    client.execute(long, &[&950]).await.unwrap();
    assert_eq!(listener.received().await, ["x".repeat(950)]);
    client.execute(long, &[&951]).await.unwrap();
    assert_eq!(listener.received().await, [""]);
    let many = "INSERT INTO cache (key, value) SELECT n::text::bytea, '' FROM generate_series($1::int, $2::int) n";
    client.execute(many, &[&1, &1000]).await.unwrap();
    assert!(!listener.received().await.contains(&String::new()));
    client.execute(many, &[&1001, &2001]).await.unwrap();
    assert_eq!(listener.received().await, [""]);
    client.execute("UPDATE cache SET value = '1'", &[]).await.unwrap();
    assert_eq!(listener.received().await, [""]);
    client.execute("TRUNCATE cache", &[]).await.unwrap();
    assert_eq!(listener.received().await, [""]);
}

/// The owner of the table creates the triggers, by a call or by SQL; then other users need no right
/// but those for the table.
#[tokio::test]
async fn triggers_need_the_rights_of_the_owner() {
    let server = Postgres::start().unwrap();
    let client = sql(&server).await;
    client
        .batch_execute("CREATE ROLE app LOGIN; REVOKE CREATE ON SCHEMA public FROM public")
        .await
        .unwrap();
    cache(&server.url(), "").check().await.unwrap();
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON cache, cache_meta TO app";
    client.batch_execute(grant).await.unwrap();
    let app = format!("postgres://app@{}/postgres", server.address());
    let error = cache(&app, TRIGGERS).set("k", &1, secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    for part in ["options.notify_triggers", "\"cache\"", "create_tables_sql"] {
        assert!(error.to_string().contains(part), "{error}");
    }

    let settings = |location: &str| {
        let text = format!("[caches.default]\nbackend = 'db'\nlocation = '{location}'\n{TRIGGERS}");
        Settings::from_toml(&text).unwrap()
    };
    assert!(cache_db::create_tables(&settings(&app)).await.is_err());
    cache_db::create_tables(&settings(&server.url())).await.unwrap();
    let mut listener = Listener::start(&server).await;
    cache(&app, TRIGGERS).set("k", &1, secs(60)).await.unwrap();
    assert_eq!(listener.received().await, [":1:k"]);

    // The second transaction of the SQL adds the triggers to a table that exists.
    client.batch_execute("DROP FUNCTION cache_notify1 CASCADE").await.unwrap();
    assert!(cache(&app, TRIGGERS).set("k", &1, secs(60)).await.is_err());
    let sql = cache_db::create_tables_sql(&settings(&server.url())).unwrap();
    let (_, triggers) = sql.split_once("COMMIT;\n").unwrap();
    client.batch_execute(triggers).await.unwrap();
    cache(&app, TRIGGERS).set("k", &1, secs(60)).await.unwrap();
    assert_eq!(listener.received().await, [":1:k"]);
    // And the whole SQL creates both.
    client.batch_execute("DROP TABLE cache, cache_meta").await.unwrap();
    client.batch_execute(&sql).await.unwrap();
    client.batch_execute(grant).await.unwrap();
    let mut listener = Listener::start(&server).await;
    cache(&app, TRIGGERS).set("k", &1, secs(60)).await.unwrap();
    assert_eq!(listener.received().await, [":1:k"]);
}
