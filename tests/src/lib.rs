//! The ladder of tests: what several test binaries share.

pub mod process;
