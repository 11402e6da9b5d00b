//! A small hub on the loopback address, for tests.
