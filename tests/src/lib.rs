//! What the ladder of tests stands on: the deterministic simulators, real processes, and the lab in network namespaces.

#[cfg(target_os = "linux")]
pub mod lab;
pub mod pathsim;
pub mod process;
pub mod rogue;
pub mod sim;
