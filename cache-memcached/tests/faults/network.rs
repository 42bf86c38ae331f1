//! A network that loses packets, cuts connections and delays.

fault_tests::network!(crate::support::OnMemcached);
