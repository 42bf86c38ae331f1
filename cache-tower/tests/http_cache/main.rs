//! The HTTP cache over a real axum server, with a real client.

mod basics;
mod concurrency;
mod conditional;
mod disconnect;
mod leaks;
mod nested;
mod places;
mod rfc9111;
mod site;
mod stale;
