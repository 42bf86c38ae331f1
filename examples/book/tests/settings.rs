//! The chapters list every setting and no other, with its default, and quote errors as the code
//! words them.

use std::{collections::BTreeSet, fmt::Debug};

use cache_core::{
    CacheSettings, Caches, NearSettings, Settings, Timeout,
    layer::{BreakerSettings, RetrySettings},
    testing::FakeClock,
};
use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;

const SETTINGS: &str = include_str!("../../../docs/src/settings.md");
const REDIS: &str = include_str!("../../../docs/src/redis.md");
const NEAR: &str = include_str!("../../../docs/src/near.md");
const FILE: &str = include_str!("../../../docs/src/file.md");
const MEMCACHED: &str = include_str!("../../../docs/src/memcached.md");
const DB: &str = include_str!("../../../docs/src/db.md");

/// The cells of the table under a heading of a chapter, row by row.
fn rows(chapter: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let section = ["##", "###"]
        .iter()
        .find_map(|level| chapter.split_once(&format!("\n{level} {heading}\n")))
        .and_then(|(_, section)| section.split("\n##").next());
    let section = section.unwrap_or_else(|| panic!("no `## {heading}`"));
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    rows.map(|row| row.split('|').skip(1).map(str::trim).collect()).collect()
}

/// The names and documented defaults in the table under a heading of a chapter.
fn table(chapter: &'static str, heading: &str) -> Vec<(&'static str, &'static str)> {
    rows(chapter, heading).iter().map(|cells| (cells[0].trim_matches('`'), cells[2])).collect()
}

/// The documented defaults in the form of TOML lines, with `prefix` before each name.
fn as_toml(rows: &[(&str, &str)], prefix: &str) -> String {
    let written = rows.iter().filter(|(_, default)| default.starts_with('`'));
    let lines = written.map(|(name, it)| format!("{prefix}{name} = {}", it.trim_matches('`')));
    lines.collect::<Vec<_>>().join("\n")
}

fn read(lines: &str) -> CacheSettings {
    let text = format!("[default]\nbackend = 'memory'\n{lines}");
    toml::from_str::<Settings>(&text).unwrap().get("default").unwrap().clone()
}

const MEMORY: &str = "backend = 'memory'";
const A_FILE: &str = "backend = 'file'\nlocation = '/tmp/never-made'";
const A_MEMCACHED: &str = "backend = 'memcached'\nlocation = ['a', 'b']";
const A_DB: &str = "backend = 'db'\nlocation = 'cache.db'";
const A_POSTGRES: &str = "backend = 'db'\nlocation = 'postgres://user@host/database'";
const A_REDIS: &str = "backend = 'redis'\nlocation = 'redis://127.0.0.1'";

/// The names that the deserializer allows in a table, taken from its error about an unknown name.
fn allowed(alias: &str, prefix: &str) -> BTreeSet<String> {
    let text = format!("[caches.default]\n{alias}\n{prefix}zzz = 1");
    let error = Caches::from_toml(&text).unwrap_err();
    let (_, names) = error.message().split_once("allowed: ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[track_caller]
fn assert_complete(chapter: &'static str, heading: &str, alias: &str, prefix: &str) {
    let rows = rows(chapter, heading);
    // A setting with different defaults has one row for each database.
    let whose = |text: &'static str| text.split_once(": ").map(|it| it.0);
    let distinct: BTreeSet<_> = rows.iter().map(|it| (it[0], whose(it[3]))).collect();
    assert_eq!(distinct.len(), rows.len(), "`{heading}` names a setting twice");
    let named: BTreeSet<String> = rows.iter().map(|it| it[0].trim_matches('`').into()).collect();
    assert_eq!(named, allowed(alias, prefix), "documented and existing settings of `{heading}`");
}

/// The names of the settings in a chapter before its first heading.
fn rows_of_first_table(chapter: &'static str) -> BTreeSet<String> {
    let (text, _) = chapter.split_once("\n## ").unwrap();
    let rows = text.lines().filter(|it| it.starts_with("| `"));
    rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect()
}

#[test]
fn documented_defaults_of_the_near_tier_match_the_code() {
    let (text, _) = NEAR.split_once("\n## ").unwrap();
    let rows = text.lines().filter(|it| it.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').skip(1).map(str::trim).collect::<Vec<_>>());
    let rows: Vec<_> = cells.map(|it| (it[0].trim_matches('`'), it[2])).collect();
    assert_eq!(read(&as_toml(&rows, "near.")).near, Some(NearSettings::default()));
}

#[test]
fn every_setting_is_documented_and_no_other() {
    assert_complete(SETTINGS, "`[caches.<alias>]`", MEMORY, "");
    assert_complete(SETTINGS, "`[caches.<alias>.breaker]`", MEMORY, "breaker.");
    assert_complete(SETTINGS, "`[caches.<alias>.retry]`", MEMORY, "retry.");
    let near = rows_of_first_table(NEAR);
    assert_eq!(near, allowed(MEMORY, "near."), "documented and existing settings of `near`");
    assert_complete(SETTINGS, "Options of `memory`", MEMORY, "options.");
    assert_complete(REDIS, "Options", A_REDIS, "options.");
    assert_complete(REDIS, "TLS", A_REDIS, "options.tls.");
    assert_complete(MEMCACHED, "Options", A_MEMCACHED, "options.");
    assert_complete(DB, "Options", A_DB, "options.");
    assert_complete(FILE, "Options", A_FILE, "options.");
    assert_complete(DB, "TLS", A_POSTGRES, "options.tls.");
    let dummy = "[caches.default]\nbackend = 'dummy'\noptions.zzz = 1";
    let error = Caches::from_toml(dummy).unwrap_err();
    assert!(error.message().ends_with("allowed: none"), "{error}");
}

#[test]
fn documented_defaults_of_a_cache_match_the_code() {
    type Field = fn(&CacheSettings) -> String;
    fn shown(it: impl Debug) -> String {
        format!("{it:?}")
    }
    let fields: [(&str, Field); 13] = [
        ("key_prefix", |it| shown(&it.key_prefix)),
        ("version", |it| shown(it.version)),
        ("codec", |it| shown(it.codec)),
        ("compression", |it| shown(it.compression)),
        ("fail_open", |it| shown(it.fail_open)),
        ("revisions", |it| shown(it.revisions)),
        ("tags", |it| shown(it.tags)),
        ("tag_staleness", |it| shown(it.tag_staleness)),
        ("long_keys", |it| shown(it.long_keys)),
        ("deadline", |it| shown(it.deadline)),
        ("connect_deadline", |it| shown(it.connect_deadline)),
        ("load_deadline", |it| shown(it.load_deadline)),
        ("timeout", |_| "compared by the next test".to_owned()),
    ];
    let rows = table(SETTINGS, "`[caches.<alias>]`");
    let (documented, code) = (read(&as_toml(&rows, "")), CacheSettings::new("memory"));
    for (name, default) in rows {
        if default.starts_with('`') {
            let field = fields.iter().find(|(it, _)| *it == name);
            let (_, field) = field.unwrap_or_else(|| panic!("add `{name}` to this test"));
            assert_eq!(field(&documented), field(&code), "the default of `{name}`");
        } else {
            // The default of these is that of their type.
            let without_default = [
                "backend",
                "location",
                "read",
                "compress_from",
                "fetch",
                "near",
                "bus",
                "breaker",
                "retry",
                "options",
            ];
            assert!(
                without_default.contains(&name),
                "write the default of `{name}` as code: {default}"
            );
        }
    }
}

#[tokio::test]
async fn documented_default_timeout_matches_the_code() {
    let rows = table(SETTINGS, "`[caches.<alias>]`");
    let timeout: Vec<_> = rows.into_iter().filter(|(name, _)| *name == "timeout").collect();
    let text = format!(
        "[caches.default]\nbackend = 'memory'\n[caches.documented]\nbackend = 'memory'\n{}",
        as_toml(&timeout, "")
    );
    let clock = FakeClock::new().clock();
    let caches = Caches::builder().clock(clock).toml(&text).unwrap().build().unwrap();
    let mut lives = Vec::new();
    for cache in caches.iter() {
        cache.set("k", &1, Timeout::Default).await.unwrap();
        lives.push(cache.ttl("k").await.unwrap().unwrap());
    }
    assert_eq!(lives[0], lives[1]);
}

#[test]
fn documented_defaults_of_the_layers_match_the_code() {
    let breaker = as_toml(&table(SETTINGS, "`[caches.<alias>.breaker]`"), "breaker.");
    assert_eq!(read(&breaker).breaker, BreakerSettings::default());
    let retry = as_toml(&table(SETTINGS, "`[caches.<alias>.retry]`"), "retry.");
    assert_eq!(read(&retry).retry, RetrySettings::default());
}

#[test]
fn documented_defaults_of_memory_match_the_code() {
    // Aliases of one location must have the same options.
    let documented = as_toml(&table(SETTINGS, "Options of `memory`"), "options.");
    let alias = "backend = 'memory'\nlocation = 'main'";
    let text = format!("[caches.default]\n{alias}\n[caches.documented]\n{alias}\n{documented}");
    assert!(documented.contains("max_entries"), "{documented}");
    Caches::from_toml(&text).unwrap();
}

#[test]
fn documented_defaults_of_redis_match_the_code() {
    let documented = as_toml(&table(REDIS, "Options"), "options.");
    assert!(
        documented.contains("max_value_bytes") && documented.contains("topology"),
        "{documented}"
    );
    let text = format!("[caches.default]\n{A_REDIS}\n[caches.documented]\n{A_REDIS}\n{documented}");
    let caches = Caches::from_toml(&text).unwrap();
    let store = |alias| caches.get(alias).unwrap().backend().clone();
    let (code, documented) = (store("default"), store("documented"));
    assert_eq!(code.capabilities(), documented.capabilities());
    assert_eq!(format!("{code:?}"), format!("{documented:?}"));
}

#[test]
fn documented_defaults_of_memcached_match_the_code() {
    let documented = as_toml(&table(MEMCACHED, "Options"), "options.");
    for option in ["when_down", "connections", "max_value_bytes"] {
        assert!(documented.contains(option), "{documented}");
    }
    let text = format!(
        "[caches.default]\n{A_MEMCACHED}\n[caches.documented]\n{A_MEMCACHED}\n{documented}"
    );
    let caches = Caches::from_toml(&text).unwrap();
    let store = |alias| caches.get(alias).unwrap().backend().clone();
    let (code, documented) = (store("default"), store("documented"));
    assert_eq!(code.capabilities(), documented.capabilities());
    assert_eq!(format!("{code:?}"), format!("{documented:?}"));
}

/// The chapter says of each option whether it belongs to one of the databases or to both.
#[test]
fn documented_defaults_of_db_match_the_code() {
    let both = ["table", "max_bytes", "max_value_bytes"];
    for (alias, name, own) in [
        (A_DB, "SQLite", &["synchronous", "readers", "direct_reads", "direct_writes"][..]),
        (A_POSTGRES, "PostgreSQL", &["connections", "unlogged", "notify_triggers"]),
    ] {
        let is_for = |text: &str| match text.split_once(": ") {
            Some((whose @ ("SQLite" | "PostgreSQL"), _)) => whose == name,
            _ => true,
        };
        let rows = rows(DB, "Options");
        let rows = rows.iter().filter(|it| is_for(it[3]));
        let rows: Vec<_> = rows.map(|it| (it[0].trim_matches('`'), it[2])).collect();
        let documented = as_toml(&rows, "options.");
        for option in both.iter().chain(own) {
            assert!(documented.contains(option), "{documented}");
        }
        // Aliases of one file must have the same options; aliases of a server show theirs in
        // `Debug`.
        let text = format!("[caches.default]\n{alias}\n[caches.documented]\n{alias}\n{documented}");
        let caches = Caches::from_toml(&text).unwrap();
        let shown = |alias| format!("{:?}", caches.get(alias).unwrap().backend());
        assert_eq!(shown("default"), shown("documented"));
    }
}

#[test]
fn documented_forms_of_a_location_are_accepted() {
    for (backend, chapter, least) in [("memcached", MEMCACHED, 5), ("db", DB, 8)] {
        let forms = rows(chapter, "`location`");
        assert!(forms.len() >= least, "{forms:?}");
        for form in forms {
            let location = form[0].trim_matches('`');
            let text = format!("[caches.default]\nbackend = '{backend}'\nlocation = '{location}'");
            Caches::from_toml(&text).unwrap();
        }
    }
}

#[test]
fn documented_defaults_of_file_match_the_code() {
    // Aliases of one directory must have the same options.
    let documented = as_toml(&table(FILE, "Options"), "options.");
    for option in ["max_entries", "max_bytes", "max_value_bytes", "direct_reads", "threads"] {
        assert!(documented.contains(option), "{documented}");
    }
    let text = format!("[caches.default]\n{A_FILE}\n[caches.documented]\n{A_FILE}\n{documented}");
    Caches::from_toml(&text).unwrap();
}

#[test]
fn documented_errors_of_file_match_the_code() {
    let rows = rows(FILE, "Wrong settings");
    let rows: Vec<_> = rows.iter().filter(|it| it[0].contains(" = ")).collect();
    assert!(rows.len() >= 7, "{rows:?}");
    for row in rows {
        let wrong = row[0].split('`').nth(1).unwrap();
        let location = if wrong.starts_with("location") { "" } else { "location = 'a'\n" };
        let text = format!("[caches.default]\nbackend = 'file'\n{location}{wrong}");
        let error = Caches::from_toml(&text).unwrap_err();
        assert!(error.message().contains(row[1]), "{error}");
    }
}

/// Checks the rows of `| wrong | what the error says |` whose first cell is a setting.
#[test]
fn documented_errors_match_the_code() {
    let stores = [("memcached", MEMCACHED, "['a', 'b']", 5), ("db", DB, "'cache.db'", 12)];
    for (backend, chapter, location, least) in stores {
        let rows = rows(chapter, "Wrong settings");
        let rows: Vec<_> = rows.iter().filter(|it| it[0].contains(" = ")).collect();
        assert!(rows.len() >= least, "{rows:?}");
        for row in rows {
            let wrong = row[0].split('`').nth(1).unwrap();
            let other = format!("location = {location}\n");
            let location = if wrong.starts_with("location") { "" } else { &other };
            let text = format!("[caches.default]\nbackend = '{backend}'\n{location}{wrong}");
            let text = text.replace("\nweights", "\noptions.weights");
            let error = Caches::from_toml(&text).unwrap_err();
            let said = row[1].split([';', ',']).next().unwrap();
            assert!(error.message().contains(said), "{error}");
        }
    }
}

#[test]
fn documented_database_tables_match_the_code() {
    let shown = DB.split("```text\nCREATE TABLE").skip(1);
    let triggers = ["cache_added", "cache_changed", "cache_removed"];
    let mut seen = 0;
    for (shown, (alias, names)) in shown.zip([(A_DB, &triggers[..]), (A_POSTGRES, &[])]) {
        let settings = cache_core::Settings::from_toml(&format!("[caches.default]\n{alias}"));
        let sql = cache_db::create_tables_sql(&settings.unwrap()).unwrap();
        let columns = shown.split("\n)").next().unwrap().lines().skip(1);
        let columns: Vec<&str> = columns
            .filter_map(|it| it.split("--").next())
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        assert_eq!(columns.len(), 5, "{columns:?}");
        for column in columns {
            let column = column.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(sql.contains(&column), "{column}: {sql}");
        }
        for name in names.iter().chain(&["cache_meta"]) {
            assert!(sql.contains(&format!("\"{name}\"")) && DB.contains(name), "{name}: {sql}");
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn documented_forms_of_a_location_of_redis_are_accepted() {
    let forms = rows(REDIS, "`location`");
    assert!(forms.len() > 4, "{forms:?}");
    for form in forms {
        // TLS would need certificates; the form of the URL is the same without it.
        let url = form[0].trim_matches('`').replace("rediss", "redis");
        let text = format!("[caches.default]\nbackend = 'redis'\nlocation = '{url}'");
        Caches::from_toml(&text).unwrap();
    }
}

#[test]
fn settings_in_the_chapters_on_stores_are_valid() {
    let blocks = |it: &'static str| it.split("```toml\n").skip(1);
    let blocks = [REDIS, MEMCACHED, DB, FILE].into_iter().flat_map(blocks);
    let blocks: Vec<_> = blocks.map(|it| it.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 8, "{blocks:?}");
    // TLS is an optional feature, and its files do not exist here.
    let has_tls = |it: &str| it.contains("rediss") || it.contains("options.tls]");
    for block in blocks.into_iter().filter(|it| !has_tls(it)) {
        let block = ["${SENTINEL_PASSWORD}", "${DB_PASSWORD}", "${MEMCACHED_PASSWORD}"]
            .iter()
            .fold(block.to_owned(), |it, name| it.replace(name, "secret"));
        Caches::from_toml(&block).unwrap();
    }
}
