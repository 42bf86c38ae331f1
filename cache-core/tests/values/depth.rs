use std::{collections::BTreeMap, fmt::Debug, thread};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Caches, Fate};

/// The documented limit of each codec.
const LIMIT: usize = 127;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List(Vec<List>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Linked {
    next: Option<Box<Linked>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Map(BTreeMap<u8, Map>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    New(Box<Tree>),
    Tuple(u8, Box<Tree>),
    Struct { it: Box<Tree> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Internal {
    Leaf,
    Struct { it: Box<Internal> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Leaf,
    New(Box<Adjacent>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Leaf(u8),
    List(Vec<Untagged>),
}

/// A type whose nesting leaves no bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Bare(Option<Box<Bare>>);

fn nest<T>(leaf: T, depth: usize, around: impl Fn(T) -> T) -> T {
    (0..depth).fold(leaf, |it, _| around(it))
}

/// Checks that values are kept up to the limit and refused beyond it. Each step adds `per_step`
/// levels.
fn kept_to_the_limit<T>(
    caches: &Caches,
    leaf: impl Fn() -> T,
    around: impl Fn(T) -> T,
    per_step: usize,
) where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    for depth in (0..LIMIT / per_step + 3).chain([10_000, 100_000]) {
        let value = nest(leaf(), depth, &around);
        let levels = depth * per_step;
        let fate = if levels <= LIMIT { Fate::Kept } else { Fate::Refused };
        assert!(caches.fates(&value).iter().all(|it| *it == fate), "{depth} steps");
        // The drop of a deep value overflows the stack.
        std::mem::forget(value);
    }
}

/// Runs the test with a stack of the size that tokio's workers have.
fn on_a_worker(test: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(2 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn lists_maps_and_structs_are_kept_to_the_limit() {
    on_a_worker(|| {
        let caches = Caches::new();
        // The leaf is a level, too.
        for depth in [LIMIT - 1, LIMIT, 10_000, 100_000] {
            let fate = if depth < LIMIT { Fate::Kept } else { Fate::Refused };
            let list = nest(List(vec![]), depth, |it| List(vec![it]));
            assert_eq!(caches.fates(&list), [fate; 3], "{depth}");
            let linked =
                nest(Linked { next: None }, depth, |it| Linked { next: Some(Box::new(it)) });
            assert_eq!(caches.fates(&linked), [fate; 3], "{depth}");
            let map = nest(Map([].into()), depth, |it| Map([(1, it)].into()));
            assert_eq!(caches.fates(&map), [fate; 3], "{depth}");
            std::mem::forget((list, linked, map));
        }
    });
}

#[test]
fn variants_of_each_kind_are_kept_to_the_limit() {
    on_a_worker(|| {
        let caches = Caches::new();
        kept_to_the_limit(&caches, || Tree::Leaf, |it| Tree::New(Box::new(it)), 1);
        kept_to_the_limit(&caches, || Tree::Leaf, |it| Tree::Tuple(1, Box::new(it)), 2);
        kept_to_the_limit(&caches, || Tree::Leaf, |it| Tree::Struct { it: Box::new(it) }, 2);
        let caches = Caches::describing();
        kept_to_the_limit(&caches, || Untagged::Leaf(1), |it| Untagged::List(vec![it]), 1);
    });
}

#[test]
fn tagged_variants_are_kept_to_the_limit() {
    on_a_worker(|| {
        let caches = Caches::describing();
        for depth in [LIMIT - 1, LIMIT, 10_000, 100_000] {
            let fate = if depth < LIMIT { Fate::Kept } else { Fate::Refused };
            let internal = nest(Internal::Leaf, depth, |it| Internal::Struct { it: Box::new(it) });
            assert_eq!(caches.fates(&internal), [fate; 2], "{depth}");
            let adjacent = nest(Adjacent::Leaf, depth, |it| Adjacent::New(Box::new(it)));
            assert_eq!(caches.fates(&adjacent), [fate; 2], "{depth}");
            std::mem::forget((internal, adjacent));
        }
    });
}

#[test]
fn nesting_that_leaves_no_bytes_is_refused_before_the_stack_overflows() {
    on_a_worker(|| {
        let caches = Caches::new();
        caches.kept(&Bare(None));
        for depth in [1, 10, 253, 254, 1_000, 100_000] {
            let value = nest(Bare(None), depth, |it| Bare(Some(Box::new(it))));
            // postcard marks each `Some`. The limit is 508 newtypes and `Some`s.
            let marked = if depth <= 253 { Fate::Kept } else { Fate::Refused };
            let fates = [Fate::Refused, Fate::Refused, marked];
            assert_eq!(caches.fates(&value), fates, "{depth}");
            std::mem::forget(value);
        }
    });
}
