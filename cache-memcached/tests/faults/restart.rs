//! A server that is killed, and a server that is absent at the start.

fault_tests::restart!(crate::support::OnMemcached);
