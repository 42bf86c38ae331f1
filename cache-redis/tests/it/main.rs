//! What the store promises while all is well, a file for each topic. What callers see when something fails is in `tests/faults`.

mod acl;
mod batches;
mod conformance;
mod connections;
mod handles;
mod limits;
mod login;
mod replicas;
mod settings;
mod support;
mod values;
