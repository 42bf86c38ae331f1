//! What callers see when servers, networks and runtimes fail, and calls are dropped: the same promises for every store over a
//! network, as tests that each of them runs. Most print what they have seen, with the time that it took: from these lines is the
//! table "What an outage looks like" of the book.
//!
//! A store says by a [`Stage`] how its server is started and what can be seen there, and makes the tests of a family with a
//! macro of its name, in a file that may have others beside them:
//!
//! ```
//! # use std::any::Any;
//! # use cache_core::Cache;
//! # use fault_tests::{Large, Stage};
//! # use test_servers::Memcached;
//! # struct Mine;
//! # impl Stage for Mine {
//! #     type Server = Memcached;
//! #     const BACKEND: &'static str = "mine";
//! #     const SHARES_CONNECTIONS: bool = false;
//! #     const LARGE: Large = Large { len: 1, piece: std::time::Duration::ZERO };
//! #     const OTHERWISE: &'static str = "";
//! #     fn start() -> Memcached { Memcached::start().unwrap() }
//! #     fn location(at: std::net::SocketAddr) -> String { at.to_string() }
//! #     fn stored(_: &Memcached, _: &str) -> Option<String> { None }
//! #     fn reads(_: &Memcached) -> u64 { 0 }
//! #     fn several(_: &str) -> (Cache, Box<dyn Any>) { panic!("not in this example") }
//! # }
//! mod restart {
//!     fault_tests::restart!(super::Mine);
//! }
//! ```

#![cfg(target_os = "linux")]
#![expect(clippy::missing_panics_doc, reason = "tests panic to say that a promise is broken")]

pub mod cancelled;
mod connections;
pub mod frozen;
pub mod idle;
pub mod late;
pub mod load;
pub mod network;
pub mod once;
pub mod restart;
pub mod runtimes;
mod silence;
mod stage;
mod support;

pub use self::{
    connections::{Held, connections_to, loss_is_known},
    silence::freeze_opens_the_breaker_in_time,
    stage::{Large, Stage, cache, cache_on, cache_through},
    support::{
        LONG, NO_BREAKER, PATIENT, answered, is_open, is_outage, keys, report, stored_key, timed,
        until,
    },
};

/// Makes of the functions named a module `promises` of what stores can call, and a macro with the name of the module that makes
/// tests of them. A function that is not named is dead code.
macro_rules! promises {
    ($d:tt $module:ident: $($name:ident),* $(,)?) => {
        /// The promises, by name.
        #[expect(missing_docs, reason = "their names say it")]
        pub mod promises {
            $(pub async fn $name<S: $crate::Stage>() {
                Box::pin(super::$name::<S>()).await;
            })*
        }

        /// Makes tests of the promises of the module of this name, for a [`Stage`](crate::Stage).
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

/// The same of functions that make runtimes of their own.
macro_rules! blocking_promises {
    ($d:tt $module:ident: $($name:ident),* $(,)?) => {
        /// The promises, by name.
        #[expect(missing_docs, reason = "their names say it")]
        pub mod promises {
            $(pub fn $name<S: $crate::Stage>() {
                super::$name::<S>();
            })*
        }

        /// Makes tests of the promises of the module of this name, for a [`Stage`](crate::Stage).
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
