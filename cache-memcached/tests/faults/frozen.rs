//! A server that stands still, and answers nobody.

fault_tests::frozen!(crate::support::OnMemcached);
