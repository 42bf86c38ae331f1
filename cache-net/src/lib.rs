//! Tools for authors of stores that use a network. An application does not need this crate.
//!
//! - [`Dialer`]: TCP connections, trying all addresses of a host within one timeout; [`staggered`]:
//!   the same for attempts of any kind;
//! - [`resolve()`]: the addresses of a host, without a thread of tokio's pool;
//! - [`Socket`]: a connection that can be probed and reset while a client library uses it;
//!   [`reset`]: a reset of a plain TCP stream, also while a forked child has inherited it;
//! - [`check_url`]: a check of the URL of a `location` for unencoded characters;
//! - [`Wire`]: a pipelined connection, which many calls use at the same time; [`Decode`]: its
//!   protocol;
//! - [`ConnectionSlot`]: one connection, made on demand and replaced when it stops replying;
//!   [`ConnectionSlots`]: several connections to one server, each of which has its keys;
//! - [`Attempt`]: a task with several waiters;
//! - [`CounterQueue`]: changes of one counter that are made together;
//! - [`within()`]: waiting with a timeout;
//! - [`with_io_driver`]: an error instead of tokio's panic on a runtime without an I/O driver;
//! - [`connection_error`], [`runtime_closed`], [`first_error`]: errors that these stores share;
//! - [`Encryption`]: plain connections, or TLS; [`TlsFiles`]: the option `tls`, and with the
//!   feature `tls` its implementation by rustls.

mod attempt;
mod connection_slot;
mod connection_slots;
mod connector;
mod counter_queue;
mod dialer;
mod encryption;
mod error;
mod io_driver;
mod liveness;
mod resolve;
mod socket;
mod stand_in;
#[cfg(feature = "tls")]
mod tls;
mod tls_files;
#[cfg(feature = "tls")]
mod tls_stream;
mod url;
mod wire;
mod within;

pub use self::{
    attempt::Attempt,
    connection_slot::ConnectionSlot,
    connection_slots::ConnectionSlots,
    connector::Connector,
    counter_queue::{CounterChange, CounterQueue, CounterSum, CounterTurn},
    dialer::{Dialer, staggered},
    encryption::Encryption,
    error::{connection_error, first_error, runtime_closed},
    io_driver::with_io_driver,
    resolve::resolve,
    socket::{Peek, Socket, SocketHandle, Stream, reset},
    tls_files::TlsFiles,
    url::check_url,
    wire::{Decode, Decoded, Lost, Wire},
    within::within,
};
#[cfg(feature = "tls")]
pub use self::{
    tls::{Tls, TlsHost},
    tls_stream::TlsStream,
};

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
