//! The arguments of [`INCR`](crate::script::INCR), which are encoded without a string each.

use cache_core::store::CounterInit;

use super::commands::millis;
use crate::{encoder::Encoder, script::Args};

/// A change of a counter.
pub(super) struct CounterChange {
    delta: i64,
    first: First,
    /// The lifetime of a new counter in milliseconds.
    lifetime: Option<u64>,
}

/// The value of a counter that does not exist yet.
enum First {
    /// It is not created.
    None,
    Overflow,
    Count(i64),
}

impl CounterChange {
    pub(super) fn new(delta: i64, create: Option<CounterInit>) -> Self {
        let first = |it: CounterInit| it.initial.checked_add(delta);
        Self {
            delta,
            first: create.map_or(First::None, |it| first(it).map_or(First::Overflow, First::Count)),
            lifetime: create.and_then(|it| millis(it.expiry)),
        }
    }
}

impl Args for CounterChange {
    fn count(&self) -> usize {
        match self.first {
            First::None => 1,
            _ => 2 + usize::from(self.lifetime.is_some()),
        }
    }

    fn size(&self) -> usize {
        0
    }

    fn encode(&self, out: &mut Encoder<'_>) {
        out.number(self.delta);
        match self.first {
            First::None => return,
            First::Overflow => out.arg("overflow"),
            First::Count(count) => out.number(count),
        };
        if let Some(millis) = self.lifetime {
            out.number(millis);
        }
    }
}
