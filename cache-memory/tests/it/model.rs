//! Random sequences of operations and waits, compared with a map with deadlines.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use cache_core::{
    ErrorKind, Ttl,
    store::{CounterInit, Expected, Expiry, SetMode, SyncBackend, TtlUpdate},
    testing::FakeClock,
};
use cache_memory::Memory;
use proptest::prelude::*;

use crate::text;

/// The expected entries: values with the millisecond in which they expire.
#[derive(Default)]
struct Model {
    now: u64,
    entries: HashMap<u8, (Bytes, Option<u64>)>,
}

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Get(u8),
    Set(u8, Bytes, Option<u64>, SetMode),
    Touch(u8, Option<u64>),
    Delete(u8),
    Take(u8),
    Incr(u8, i64, Option<(i64, Option<u64>)>),
    Cas(u8, Bytes, Bytes, Life),
    Cad(u8, Bytes),
    Rename(u8, u8),
    Clear,
}

#[derive(Clone, Debug)]
enum Life {
    Keep,
    New(Option<u64>),
}

impl Model {
    fn live(&self, key: u8) -> Option<&(Bytes, Option<u64>)> {
        self.entries.get(&key).filter(|(_, at)| at.is_none_or(|it| it > self.now))
    }

    fn put(&mut self, key: u8, value: Bytes, life: Option<u64>) {
        self.entries.insert(key, (value, life.map(|it| self.now + it)));
    }

    fn take(&mut self, key: u8) -> Option<Bytes> {
        let live = self.live(key).is_some();
        self.entries.remove(&key).filter(|_| live).map(|(value, _)| value)
    }

    fn incr(
        &mut self,
        key: u8,
        delta: i64,
        create: Option<(i64, Option<u64>)>,
    ) -> Result<Option<i64>, ErrorKind> {
        let (old, at) = match (self.live(key), create) {
            (Some((value, at)), _) => {
                let value = std::str::from_utf8(value).unwrap();
                let n: i64 = value.parse().map_err(|_| ErrorKind::NotAnInteger)?;
                if n.to_string() != value {
                    return Err(ErrorKind::NotAnInteger);
                }
                (n, *at)
            }
            (None, Some((initial, life))) => (initial, life.map(|it| self.now + it)),
            (None, None) => return Ok(None),
        };
        let new = old.checked_add(delta).ok_or(ErrorKind::Overflow)?;
        self.entries.insert(key, (text(&new.to_string()), at));
        Ok(Some(new))
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..6_u8;
    let life = || prop_oneof![Just(None), (1..200_u64).prop_map(Some)];
    let mode =
        prop_oneof![Just(SetMode::Always), Just(SetMode::IfAbsent), Just(SetMode::IfPresent)];
    let texts =
        vec!["", "0", "-1", "41", "007", "+5", "x", "9223372036854775807", "a longer value"];
    let value = move || proptest::sample::select(texts.clone()).prop_map(text);
    let cas_life = prop_oneof![Just(Life::Keep), life().prop_map(Life::New)];
    let number = || prop_oneof![-3..3_i64, Just(i64::MAX), Just(i64::MIN)];
    let op = prop_oneof![
        3 => (0..120_u64).prop_map(Op::Wait),
        2 => key().prop_map(Op::Get),
        5 => (key(), value(), life(), mode).prop_map(|(k, v, l, m)| Op::Set(k, v, l, m)),
        2 => (key(), life()).prop_map(|(k, l)| Op::Touch(k, l)),
        1 => key().prop_map(Op::Delete),
        1 => key().prop_map(Op::Take),
        3 => (key(), number(), proptest::option::of((number(), life()))).prop_map(|(k, d, c)| Op::Incr(k, d, c)),
        2 => (key(), value(), value(), cas_life).prop_map(|(k, o, n, l)| Op::Cas(k, o, n, l)),
        1 => (key(), value()).prop_map(|(k, o)| Op::Cad(k, o)),
        2 => (key(), key()).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => Just(Op::Clear),
    ];
    proptest::collection::vec(op, 1..200)
}

fn expiry(life: Option<u64>) -> Expiry {
    life.map_or(Expiry::Never, |it| Expiry::After(Duration::from_millis(it)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_sequence_of_operations_answers_like_a_map(ops in ops()) {
        let fake = FakeClock::new();
        let memory = Memory::builder().clock(fake.clock()).build().unwrap();
        let mut model = Model::default();
        for op in ops {
            step(&memory, &fake, &mut model, op);
            for key in 0..6 {
                assert_same_entry(&memory, &model, key);
            }
        }
    }
}

fn step(memory: &Memory, fake: &FakeClock, model: &mut Model, op: Op) {
    let name = |key: u8| format!("key{key}");
    match op {
        Op::Wait(ms) => {
            fake.advance(Duration::from_millis(ms));
            model.now += ms;
        }
        Op::Get(key) => {
            let expected = model.live(key).map(|it| it.0.clone());
            assert_eq!(memory.get(&name(key)).unwrap(), expected);
        }
        Op::Set(key, value, life, mode) => {
            let allowed = match mode {
                SetMode::Always => true,
                SetMode::IfAbsent => model.live(key).is_none(),
                SetMode::IfPresent => model.live(key).is_some(),
            };
            assert_eq!(memory.set(&name(key), value.clone(), expiry(life), mode).unwrap(), allowed);
            if allowed {
                model.put(key, value, life);
            }
        }
        Op::Touch(key, life) => {
            let value = model.live(key).map(|it| it.0.clone());
            assert_eq!(memory.touch(&name(key), expiry(life)).unwrap(), value.is_some());
            if let Some(value) = value {
                model.put(key, value, life);
            }
        }
        Op::Delete(key) => {
            assert_eq!(memory.delete(&name(key)).unwrap(), model.take(key).is_some());
        }
        Op::Take(key) => assert_eq!(memory.take(&name(key)).unwrap(), model.take(key)),
        Op::Incr(key, delta, create) => {
            let expected = model.incr(key, delta, create);
            let create = create.map(|(initial, life)| CounterInit::new(initial, expiry(life)));
            assert_eq!(memory.incr(&name(key), delta, create).map_err(|it| it.kind()), expected);
        }
        Op::Cas(key, old, new, life) => {
            let found = model.live(key).filter(|it| it.0 == old).cloned();
            let (lifetime, at) = match life {
                Life::Keep => (TtlUpdate::Keep, found.as_ref().and_then(|it| it.1)),
                Life::New(life) => (TtlUpdate::New(expiry(life)), life.map(|it| model.now + it)),
            };
            let seen = Expected::value(&old);
            let done = memory.compare_and_set(&name(key), seen, new.clone(), lifetime).unwrap();
            assert_eq!(done, found.is_some());
            if done {
                model.entries.insert(key, (new, at));
            }
        }
        Op::Cad(key, old) => {
            let same = model.live(key).is_some_and(|it| it.0 == old);
            assert_eq!(memory.compare_and_delete(&name(key), Expected::value(&old)).unwrap(), same);
            if same {
                model.entries.remove(&key);
            }
        }
        Op::Rename(from, to) if from != to => {
            let found = model.live(from).cloned();
            assert_eq!(memory.rename(&name(from), &name(to)).unwrap(), found.is_some());
            if let Some(found) = found {
                model.entries.remove(&from);
                model.entries.insert(to, found);
            }
        }
        Op::Rename(..) => {}
        Op::Clear => {
            memory.clear_store().unwrap();
            model.entries.clear();
        }
    }
}

/// Skips expired entries under odd keys: reading one would remove it, and later operations shall
/// find some that no operation has read.
fn assert_same_entry(memory: &Memory, model: &Model, key: u8) {
    let expected = model.live(key).map(|(_, at)| match at {
        None => Ttl::Forever,
        Some(at) => Ttl::Remaining(Duration::from_millis(at - model.now)),
    });
    if expected.is_some() || key.is_multiple_of(2) {
        assert_eq!(memory.ttl(&format!("key{key}")).unwrap(), expected, "key{key}");
    }
}
