//! Tests of what callers see when servers, networks and runtimes fail and when calls are dropped.
//! Every store over a network makes the same promises and runs these tests. Most tests print the
//! outcome and the time it took; the table "What an outage looks like" of the book is made from
//! these lines.
//!
//! A store implements [`Harness`], which starts its server and inspects it. The macro of a module
//! creates the tests of that module, in a file that may contain other tests:
//!
//! ```
//! # use std::any::Any;
//! # use cache_core::Cache;
//! # use fault_tests::{Large, Harness};
//! # use test_servers::Memcached;
//! # struct Mine;
//! # impl Harness for Mine {
//! #     type Server = Memcached;
//! #     const BACKEND: &'static str = "mine";
//! #     const SHARES_CONNECTIONS: bool = false;
//! #     const LARGE: Large = Large { len: 1, piece: std::time::Duration::ZERO };
//! #     const OTHER_OPTIONS: &'static str = "";
//! #     fn start() -> Memcached { Memcached::start().unwrap() }
//! #     fn location(at: std::net::SocketAddr) -> String { at.to_string() }
//! #     fn stored(_: &Memcached, _: &str) -> Option<String> { None }
//! #     fn reads(_: &Memcached) -> u64 { 0 }
//! #     fn several_servers(_: &str) -> (Cache, Box<dyn Any>) { panic!("not in this example") }
//! # }
//! mod restart {
//!     fault_tests::restart!(super::Mine);
//! }
//! ```

#![cfg(target_os = "linux")]
#![expect(clippy::missing_panics_doc, reason = "tests panic when a promise is broken")]

pub mod cancelled;
mod connections;
mod freeze;
pub mod frozen;
mod harness;
pub mod idle;
pub mod late;
mod lateness;
pub mod load;
mod moved_clock;
pub mod network;
pub mod once;
pub mod restart;
pub mod runtimes;
mod support;

pub use self::{
    connections::{Connections, connections_are_closed, connections_to},
    freeze::freeze_opens_the_breaker_in_time,
    harness::{Harness, Large, cache, cache_by, cache_on, cache_through},
    lateness::with_lateness,
    moved_clock::{slowly_by, timed_by, until_by},
    support::{
        LONG, NO_BREAKER, PATIENT, answered, is_open, is_outage, keys, report, stored_key, timed,
        until,
    },
};

/// Creates a module `promises` with the named functions, and a macro named like the module, which
/// creates a test of each function. A function that is not named here is dead code.
macro_rules! promises {
    ($d:tt $module:ident: $($name:ident),* $(,)?) => {
        /// The promises, by name.
        #[expect(missing_docs, reason = "the names are the documentation")]
        pub mod promises {
            $(pub async fn $name<S: $crate::Harness>() {
                Box::pin(super::$name::<S>()).await;
            })*
        }

        /// Creates the tests of this module for a [`Harness`](crate::Harness).
        #[macro_export]
        macro_rules! $module {
            ($d stage:ty) => {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $d crate::$module::promises::$name::<$d stage>().await;
                })*
            };
        }
    };
}

/// Like `promises`, for functions that create their own runtimes.
macro_rules! blocking_promises {
    ($d:tt $module:ident: $($name:ident),* $(,)?) => {
        /// The promises, by name.
        #[expect(missing_docs, reason = "the names are the documentation")]
        pub mod promises {
            $(pub fn $name<S: $crate::Harness>() {
                super::$name::<S>();
            })*
        }

        /// Creates the tests of this module for a [`Harness`](crate::Harness).
        #[macro_export]
        macro_rules! $module {
            ($d stage:ty) => {
                $(#[test]
                fn $name() {
                    $d crate::$module::promises::$name::<$d stage>();
                })*
            };
        }
    };
}
use {blocking_promises, promises};
