//! What stores of [`cache_core`] over a network have in common: for those who write one. An application needs nothing of it.
//!
//! - [`Dialer`]: connections by TCP, all addresses of a host within one deadline; [`staggered`]: attempts one beside the other;
//! - [`resolve`]: the addresses of a host, without a thread of tokio's;
//! - [`Socket`]: a connection that can be looked at and reset while a client library has it;
//! - [`reset`]: the same end for a connection without one, also while a child of `fork` has inherited it;
//! - [`check_url`]: what is refused in the URL of a `location`;
//! - [`ConnectionSlot`]: one connection that is there when it is needed, and is replaced when it is lost or silent;
//! - [`Attempt`]: something that several wait for, and that goes on if they are dropped;
//! - [`within`]: waiting, with an end;
//! - [`TlsFiles`]: the option `tls`, and behind the feature `tls` what comes of it, by rustls.

mod attempt;
mod connection_slot;
mod dialer;
mod resolve;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod tls_files;
mod url;

#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsHost, TlsStream};
pub use self::{
    attempt::{Attempt, within},
    connection_slot::{ConnectionSlot, Connector},
    dialer::{Dialer, staggered},
    resolve::resolve,
    socket::{Peek, Socket, SocketHandle, Stream, reset},
    tls_files::TlsFiles,
    url::check_url,
};
