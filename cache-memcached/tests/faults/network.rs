//! A network that loses, cuts and delays.

fault_tests::network!(crate::support::OnMemcached);
