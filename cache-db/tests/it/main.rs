//! The SQLite store: the suite that every store passes, and what it promises besides.

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
