//! A server that is killed, and one that is not there at first.

fault_tests::restart!(crate::support::OnMemcached);
