//! Random operations have the results of the plain model. Proptest shrinks a failing sequence.

use std::sync::Arc;

use cache_core::{
    store::{Backend, Inline, Offload},
    testing::{
        FakeClock, Model,
        model::{Comparison, Life, Mismatch, Step},
    },
};
use proptest::{collection::vec, prelude::*};

fn key() -> impl Strategy<Value = u8> {
    0..5_u8
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    vec(key(), 0..6)
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![1 => Just(Life::Never), 3 => (0..8_u8).prop_map(Life::Units)]
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MAX), Just(i64::MIN), -3..4_i64, any::<i64>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => key().prop_map(Step::Read),
        1 => keys().prop_map(Step::ReadMany),
        1 => (key(), life()).prop_map(|(key, life)| Step::Set(key, life)),
        1 => (key(), integer(), life()).prop_map(|(key, it, life)| Step::SetInteger(key, it, life)),
        1 => (key(), life()).prop_map(|(key, life)| Step::Add(key, life)),
        1 => (key(), life()).prop_map(|(key, life)| Step::Replace(key, life)),
        1 => (keys(), life()).prop_map(|(keys, life)| Step::SetMany(keys, life)),
        2 => (key(), life()).prop_map(|(key, life)| Step::Touch(key, life)),
        1 => key().prop_map(Step::Delete),
        1 => keys().prop_map(Step::DeleteMany),
        1 => key().prop_map(Step::Take),
        1 => (key(), integer()).prop_map(|(key, delta)| Step::Incr(key, delta)),
        1 => (key(), integer(), integer(), life())
            .prop_map(|(key, delta, initial, life)| Step::IncrOr(key, delta, initial, life)),
        1 => key().prop_map(Step::CompareAndDelete),
        2 => (key(), proptest::option::of(life())).prop_map(|(key, life)| Step::CompareAndSet(key, life)),
        1 => (key(), key()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => Just(Step::Clear),
        3 => (0..5_u8).prop_map(Step::Pass),
    ]
}

fn compare(wrap: impl Fn(Model) -> Arc<dyn Backend>, steps: &[Step]) -> Result<(), Mismatch> {
    let time = FakeClock::new();
    let comparison = Comparison::new(wrap(Model::new(time.clock())), "p", time).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(comparison.run(steps))
}

proptest! {
    /// The model passes its own comparison on the caller's thread.
    #[test]
    fn inline_returns_the_results_of_the_model(steps in vec(step(), 0..80)) {
        compare(|it| Arc::new(Inline::new(it)), &steps)?;
    }

    /// The model passes its own comparison on other threads.
    #[test]
    fn offload_returns_the_results_of_the_model(steps in vec(step(), 0..40)) {
        compare(|it| Arc::new(Offload::new(it, 2)), &steps)?;
    }
}
