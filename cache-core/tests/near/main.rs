//! The promises of the near tier, over a store in the process whose calls wait and fail as a test
//! wants. Invalidation by a server is tested in cache-tests.

#![allow(missing_docs)]

mod closing;
mod conformance;
mod fills;
mod objects;
mod settings;
mod stream;
mod support;
mod writes;
