//! A frozen server, which accepts connections but does not answer.

fault_tests::frozen!(crate::support::OnMemcached);
