//! Futures that are dropped at any moment.

fault_tests::cancelled!(crate::support::OnMemcached);
