//! The SQLite store: the conformance suite, and what it promises besides.

mod bounds;
mod conformance;
mod foreign;
mod integers;
mod keys;
mod load;
mod rows;
mod schema;
mod settings;
mod support;
