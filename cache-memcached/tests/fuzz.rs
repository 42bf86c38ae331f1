//! Random keys and values, with dropped calls: each reply belongs to its key, and no key is read as
//! a command.
#![cfg(target_os = "linux")]

#[path = "raw/mod.rs"]
mod raw;

use std::{collections::BTreeMap, hash::BuildHasher as _, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    Caches, ErrorKind,
    store::{Backend, Expiry, SetMode},
};
use cache_memcached as _;
use futures_util::future::join_all;
use raw::Raw;
use test_servers::{Memcached, Server as _};

const TASKS: usize = 16;
const ROUNDS: usize = 300;
const SENTINELS: [&str; 4] = ["sentinel", "flush_all", ":1:sentinel", "-:sentinel"];

/// A random number generator. The seed is printed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }
}

/// Parts that the facade allows in keys.
const LEGAL: &[&str] = &[
    "a",
    "Z",
    "0",
    "9",
    ":",
    "::",
    "!",
    "!:",
    "~",
    "-",
    "-:",
    "-~",
    "-:1",
    "1:",
    ":1:",
    "\\r\\n",
    "\"",
    "'",
    "\\",
    "%0d%0a",
    "é",
    "\u{80}",
    "ß",
    "Я",
    "日本",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "🦀",
    "flush_all",
    "mg",
    "v",
    "=",
    "b",
    "#",
    "[",
    "*",
    "?",
    "deadbeefdeadbeef:",
    "END",
];
/// Parts that only a direct caller of the store can put into keys.
const ILLEGAL: &[&str] = &[
    " ",
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\t",
    "\u{7f}",
    "\u{1}",
    "\r\nflush_all\r\n",
    " v\r\nflush_all\r\n",
    " b",
    " q",
    "\r\nms sentinel 4\r\nlost\r\n",
    "\r\nquit\r\n",
    "\nflush_all\n",
    " T1",
    "\r\nshutdown\r\n",
];
/// Values that look like parts of the protocol.
const VALUES: &[&str] = &[
    "\r\n",
    "END\r\n",
    "HD\r\n",
    "HD",
    "EN\r\n",
    "VA 4 O1\r\n",
    "MN\r\n",
    "\0",
    "SERVER_ERROR x\r\n",
    "flush_all\r\n",
    "\n",
    "O0",
    " ",
    "quit\r\n",
    "ERROR\r\n",
    "\r",
];

/// Returns a key of this task and number. All keys differ.
fn key(dice: &mut Dice, task: usize, number: usize, parts: &[&str]) -> String {
    let mut res = format!("{task}-{number}-");
    let len = if dice.roll(4) == 0 { 230 } else { res.len() + 1 + dice.roll(60) };
    // Illegal characters are encoded in base64, which makes the key longer.
    let len = if parts.len() > LEGAL.len() { len.min(160) } else { len };
    for _ in 0..200 {
        let part = dice.pick(parts);
        if res.len() + part.len() <= len {
            res.push_str(part);
        }
    }
    res
}

/// Whether a value belongs to this key.
fn is_of(value: &[u8], key: &str) -> bool {
    value.is_empty() || value.strip_prefix(key.as_bytes()).is_some_and(|it| it.starts_with(b"=>"))
}

fn value(dice: &mut Dice, key: &str) -> Bytes {
    let len = match dice.roll(20) {
        0 => return Bytes::new(),
        1 => dice.roll(200_000),
        _ => dice.roll(300),
    };
    let mut res = format!("{key}=>");
    while res.len() < len {
        res.push_str(dice.pick(VALUES));
    }
    res.into()
}

/// The possible values of the keys of one task. A dropped write may or may not have been executed.
struct Mine {
    keys: Vec<String>,
    may_hold: BTreeMap<usize, Vec<Option<Bytes>>>,
}

impl Mine {
    fn check(&mut self, number: usize, found: Option<&Bytes>) {
        let key = &self.keys[number];
        if let Some(value) = found {
            assert!(is_of(value, key), "another's value for {key:?}");
        }
        let may_hold = self.may_hold.entry(number).or_insert_with(|| vec![None]);
        assert!(may_hold.iter().any(|it| it.as_ref() == found), "not what was written for {key:?}");
    }

    /// Records a write. If the call was dropped, the old values remain possible.
    fn wrote(&mut self, number: usize, value: Option<Bytes>, is_sure: bool) {
        let may_hold = self.may_hold.entry(number).or_insert_with(|| vec![None]);
        if is_sure {
            may_hold.clear();
        }
        may_hold.push(value);
    }
}

/// Drops the call after a moment, in some cases.
async fn maybe<T>(dice: &mut Dice, drops: bool, call: impl Future<Output = T>) -> Option<T> {
    if drops && dice.roll(3) == 0 {
        let moment = Duration::from_micros(dice.roll(600) as u64);
        return tokio::time::timeout(moment, call).await.ok();
    }
    Some(call.await)
}

/// Writes, reads and deletes the task's keys, one at a time and in batches. Returns the number of
/// dropped calls.
async fn play(store: Arc<dyn Backend>, seed: u64, task: usize, parts: Vec<&'static str>) -> usize {
    let mut dice = Dice((seed ^ (task as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
    // Dropped writes stay uncertain for long, because a server may still execute them on a closed
    // connection.
    let drops = task % 2 == 1;
    let keys: Vec<_> = (0..24).map(|i| key(&mut dice, task, i, &parts)).collect();
    let mut mine = Mine { keys: keys.clone(), may_hold: BTreeMap::new() };
    let mut dropped = 0;
    for _ in 0..ROUNDS {
        let (number, kind) = (dice.roll(keys.len()), dice.roll(8));
        let key = keys[number].as_str();
        let numbers: Vec<_> = (0..=dice.roll(10)).map(|i| (number + i) % keys.len()).collect();
        let names: Vec<_> = numbers.iter().map(|it| keys[*it].as_str()).collect();
        let is_done = match kind {
            0 | 1 if !drops => {
                let value = value(&mut dice, key);
                assert!(
                    store.set(key, value.clone(), Expiry::Never, SetMode::Always).await.unwrap()
                );
                mine.wrote(number, Some(value), true);
                true
            }
            2 if !drops => {
                store.delete(key).await.unwrap();
                mine.wrote(number, None, true);
                true
            }
            3 if !drops => {
                let values: Vec<_> = names.iter().map(|it| value(&mut dice, it)).collect();
                let items: Vec<_> = names.iter().copied().zip(values.iter().cloned()).collect();
                for it in store.set_many(&items, Expiry::Never).await {
                    it.unwrap();
                }
                for (number, value) in numbers.iter().zip(values) {
                    mine.wrote(*number, Some(value), true);
                }
                true
            }
            0 | 1 => {
                let value = value(&mut dice, key);
                mine.wrote(number, Some(value.clone()), false);
                let call = store.set(key, value, Expiry::Never, SetMode::Always);
                maybe(&mut dice, drops, call).await.map(Result::unwrap).is_some()
            }
            2 => {
                mine.wrote(number, None, false);
                maybe(&mut dice, drops, store.delete(key)).await.map(Result::unwrap).is_some()
            }
            4 => {
                let answers = maybe(&mut dice, drops, store.get_entries(&names)).await;
                answers.is_some_and(|answers| {
                    for (number, it) in numbers.iter().zip(answers) {
                        mine.check(*number, it.unwrap().as_ref().map(|it| &it.value));
                    }
                    true
                })
            }
            5 => {
                let answers = maybe(&mut dice, drops, store.get_many(&names)).await;
                answers.is_some_and(|answers| {
                    for (number, it) in numbers.iter().zip(answers) {
                        mine.check(*number, it.unwrap().as_ref());
                    }
                    true
                })
            }
            _ => {
                let answer = maybe(&mut dice, drops, store.get(key)).await;
                answer.is_some_and(|it| {
                    mine.check(number, it.unwrap().as_ref());
                    true
                })
            }
        };
        dropped += usize::from(!is_done);
    }
    dropped
}

fn store(servers: &[Memcached]) -> Arc<dyn Backend> {
    let at: Vec<_> = servers.iter().map(|it| it.address().to_string()).collect();
    let toml = format!(
        "[caches.default]\nbackend = \"memcached\"\nlocation = {at:?}\ndeadline = \"20s\"\nconnect_deadline = \"20s\"\n\
         [caches.default.options]\nconnections = 4\n"
    );
    let caches = Caches::from_toml(&toml).unwrap();
    caches.get("default").unwrap().backend().clone()
}

async fn fuzz(count: usize, parts: Vec<&'static str>) {
    let seed = std::hash::RandomState::new().hash_one(0);
    let servers: Vec<_> = (0..count).map(|_| Memcached::start().unwrap()).collect();
    let mut raw: Vec<_> = servers.iter().map(|it| Raw::to(it.address())).collect();
    for raw in &mut raw {
        for it in SENTINELS {
            raw.set(it, "there");
        }
    }
    let store = store(&servers);
    let tasks = (0..TASKS).map(|i| tokio::spawn(play(store.clone(), seed, i, parts.clone())));
    let mut dropped = 0;
    for it in join_all(tasks).await {
        dropped += it.unwrap_or_else(|it| panic!("seed {seed}: {it}"));
    }
    assert!(dropped > 20, "{dropped} calls were dropped");
    for (server, raw) in servers.iter().zip(&mut raw) {
        assert!(server.is_running());
        for it in SENTINELS {
            assert_eq!(raw.get(it).as_deref(), Some("there"), "seed {seed}: {it}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reply_belongs_to_its_key_for_any_keys_and_values() {
    for servers in [1, 3] {
        fuzz(servers, LEGAL.to_vec()).await;
    }
}

/// Without the facade, which rejects such keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_with_the_text_of_a_command_is_not_executed() {
    for servers in [1, 3] {
        fuzz(servers, [LEGAL, ILLEGAL, ILLEGAL].concat()).await;
    }
}

/// The encoded key is too long for the server: an error, and nothing is sent that the server could
/// read as another command.
#[tokio::test]
async fn key_that_is_too_long_for_the_server_is_an_error() {
    let servers = [Memcached::start().unwrap()];
    let mut raw = Raw::to(servers[0].address());
    let store = store(&servers);
    raw.set("sentinel", "there");
    for key in ["x\r\nflush_all\r\n".repeat(16), "x".repeat(300), "y ".repeat(5000)] {
        let set = store.set(&key, "v".into(), Expiry::Never, SetMode::Always).await;
        let error = set.unwrap_err();
        assert!(!matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut), "{error}");
        assert!(store.get(&key).await.is_err());
        let batch = store.get_many(&["fine", &key]).await;
        assert!(batch[1].is_err());
        assert_eq!(raw.get("sentinel").as_deref(), Some("there"));
        assert_eq!(store.get("fine").await.unwrap(), None);
    }
}
