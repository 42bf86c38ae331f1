//! The chapter "Settings" names every setting that there is, no other, and the defaults that they have.

use std::{collections::BTreeSet, fmt::Debug};

use cache_core::{
    CacheSettings, Caches, Settings,
    layers::{BreakerSettings, RetrySettings},
    testing::FakeClock,
};
use cache_memory as _;

const CHAPTER: &str = include_str!("../../../docs/src/settings.md");

/// The names in the table under a heading, with their default as the table has it.
fn table(heading: &str) -> Vec<(&str, &str)> {
    let start = format!("\n## {heading}\n");
    let (_, section) = CHAPTER.split_once(&start).unwrap_or_else(|| panic!("no `## {heading}`"));
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|it| it.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`'), cells[3])
    })
    .collect()
}

/// The defaults of a table that are written as TOML, as lines under `prefix`.
fn as_toml(rows: &[(&str, &str)], prefix: &str) -> String {
    let written = rows.iter().filter(|(_, default)| default.starts_with('`'));
    let lines = written.map(|(name, it)| format!("{prefix}{name} = {}", it.trim_matches('`')));
    lines.collect::<Vec<_>>().join("\n")
}

fn read(lines: &str) -> CacheSettings {
    let text = format!("[default]\nbackend = 'memory'\n{lines}");
    toml::from_str::<Settings>(&text).unwrap().remove("default").unwrap()
}

/// The names that the settings' reader allows in a table, by its own words about one that it does not.
fn allowed(prefix: &str) -> BTreeSet<String> {
    let text = format!("[caches.default]\nbackend = 'memory'\n{prefix}zzz = 1");
    let error = Caches::from_toml(&text).unwrap_err();
    let (_, names) = error.message().split_once("allowed: ").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[track_caller]
fn assert_complete(heading: &str, prefix: &str) {
    let rows = table(heading);
    let named: BTreeSet<String> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(named.len(), rows.len(), "`{heading}` names a setting twice");
    assert_eq!(named, allowed(prefix), "what `{heading}` names, and what there is");
}

#[test]
fn every_setting_is_there_and_no_other() {
    assert_complete("`[caches.<alias>]`", "");
    assert_complete("`[caches.<alias>.breaker]`", "breaker.");
    assert_complete("`[caches.<alias>.retry]`", "retry.");
    assert_complete("Options of `memory`", "options.");
    let dummy = "[caches.default]\nbackend = 'dummy'\noptions.zzz = 1";
    let error = Caches::from_toml(dummy).unwrap_err();
    assert!(error.message().ends_with("allowed: none"), "{error}");
}

#[test]
fn the_defaults_of_a_cache_are_those_of_the_code() {
    type Field = fn(&CacheSettings) -> String;
    fn shown(it: impl Debug) -> String {
        format!("{it:?}")
    }
    let fields: [(&str, Field); 9] = [
        ("key_prefix", |it| shown(&it.key_prefix)),
        ("version", |it| shown(it.version)),
        ("codec", |it| shown(it.codec)),
        ("fail_open", |it| shown(it.fail_open)),
        ("long_keys", |it| shown(it.long_keys)),
        ("deadline", |it| shown(it.deadline)),
        ("connect_deadline", |it| shown(it.connect_deadline)),
        ("load_deadline", |it| shown(it.load_deadline)),
        ("timeout", |_| "looked at below".to_owned()),
    ];
    let rows = table("`[caches.<alias>]`");
    let (told, code) = (read(&as_toml(&rows, "")), CacheSettings::new("memory"));
    for (name, default) in rows {
        if default.starts_with('`') {
            let field = fields.iter().find(|(it, _)| *it == name);
            let (_, field) = field.unwrap_or_else(|| panic!("compare `{name}` in this test, too"));
            assert_eq!(field(&told), field(&code), "the default of `{name}`");
        } else {
            // Nothing to compare: none is the default of the type.
            let nothing = ["backend", "location", "breaker", "retry", "options"];
            assert!(nothing.contains(&name), "`{name}` has a default: `{default}` in code");
        }
    }
}

#[tokio::test]
async fn the_default_timeout_is_that_of_the_code() {
    let rows = table("`[caches.<alias>]`");
    let timeout: Vec<_> = rows.into_iter().filter(|(name, _)| *name == "timeout").collect();
    let text = format!(
        "[caches.default]\nbackend = 'memory'\n[caches.told]\nbackend = 'memory'\n{}",
        as_toml(&timeout, "")
    );
    let clock = FakeClock::new().clock();
    let caches = Caches::builder().clock(clock).toml(&text).unwrap().build().unwrap();
    let mut lives = Vec::new();
    for cache in caches.iter() {
        cache.set("k", &1, None).await.unwrap();
        lives.push(cache.ttl("k").await.unwrap().unwrap());
    }
    assert_eq!(lives[0], lives[1]);
}

#[test]
fn the_defaults_of_the_layers_are_those_of_the_code() {
    let breaker = as_toml(&table("`[caches.<alias>.breaker]`"), "breaker.");
    assert_eq!(read(&breaker).breaker, BreakerSettings::default());
    let retry = as_toml(&table("`[caches.<alias>.retry]`"), "retry.");
    assert_eq!(read(&retry).retry, RetrySettings::default());
}

#[test]
fn the_defaults_of_memory_are_those_of_the_code() {
    // Aliases of one location must have the same options.
    let told = as_toml(&table("Options of `memory`"), "options.");
    let alias = "backend = 'memory'\nlocation = 'main'";
    let text = format!("[caches.default]\n{alias}\n[caches.told]\n{alias}\n{told}");
    assert!(told.contains("max_entries"), "{told}");
    Caches::from_toml(&text).unwrap();
}
