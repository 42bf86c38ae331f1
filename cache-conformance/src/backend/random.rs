use std::sync::Arc;

use cache_core::testing::model::{Comparison, random_steps};

use crate::{
    ctx::Ctx,
    stop::TestResult,
    test::{Test, tests},
};

pub(super) const TESTS: &[Test] = tests![random_operations_match_the_model(timed)];

/// Operations in random order on a few keys return the same from the store and from the model.
async fn random_operations_match_the_model(ctx: &Ctx) -> TestResult {
    for seed in 0..20 {
        let store = Arc::clone(&ctx.store);
        let comparison = match ctx.clock() {
            Some(clock) => Comparison::new(store, ctx.prefix(), clock)?,
            None => Comparison::without_time(store, ctx.prefix())?,
        };
        if let Err(mismatch) = comparison.run(&random_steps(seed, 300)).await {
            panic!("random_steps({seed}, 300), {mismatch}");
        }
    }
    Ok(())
}
