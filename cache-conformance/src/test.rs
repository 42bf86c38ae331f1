//! A test of the suite, and how it ends.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{ctx::Ctx, stop::TestResult};

/// One test of the suite.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) run: fn(Arc<Ctx>) -> Run,
}

pub(crate) type Run = Pin<Box<dyn Future<Output = TestResult> + Send>>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// Waits for time to pass.
    Timed,
    /// Removes entries that it did not write.
    Wipes,
}

/// Makes tests of functions. `timed` and `wipes` give their [`Kind`].
macro_rules! tests {
    (@kind) => { $crate::test::Kind::Plain };
    (@kind timed) => { $crate::test::Kind::Timed };
    (@kind wipes) => { $crate::test::Kind::Wipes };
    ($($name:ident $(($kind:ident))?),* $(,)?) => {
        &[$($crate::test::Test {
            name: stringify!($name),
            kind: tests!(@kind $($kind)?),
            run: |ctx| Box::pin(async move { $name(&ctx).await }),
        }),*]
    };
}
pub(crate) use tests;

/// Asserts what a call returned. The last arguments describe the call.
macro_rules! returned {
    ($call:expr, $expected:literal, $($what:tt)+) => {
        let found: bool = $call;
        assert!(
            found == $expected,
            "{} returned {found}, expected {}",
            format_args!($($what)+),
            $expected
        );
    };
}
pub(crate) use returned;
