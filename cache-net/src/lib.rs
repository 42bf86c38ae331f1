//! What stores of [`cache_core`] over a network have in common: for those who write one. An application needs nothing of it.
//!
//! - [`Line`]: one connection that is there when it is needed, and is replaced when it is lost or silent;
//! - [`Attempt`]: something that several wait for, and that goes on if they are dropped;
//! - [`within`]: waiting, with an end;
//! - [`TlsFiles`]: the option `tls`, and behind the feature `tls` what comes of it, by rustls.

mod line;
#[cfg(feature = "tls")]
mod tls;
mod tls_files;
mod wait;

#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsPeer, TlsStream};
pub use self::{
    line::{Line, Peer},
    tls_files::TlsFiles,
    wait::{Attempt, within},
};
