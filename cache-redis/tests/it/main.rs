//! The promises of the store while servers and networks work, a file for each topic. Faults are in
//! `tests/faults`.

mod acl;
mod batches;
mod bus;
mod conformance;
mod connections;
mod handles;
mod limits;
mod login;
mod replicas;
mod settings;
mod support;
mod valkey;
mod values;
