//! What the ladder of tests stands on: the deterministic simulators, real processes and those who talk to them, and the lab in
//! network namespaces.

pub mod dns;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod pathsim;
pub mod process;
pub mod relay_client;
pub mod rogue;
pub mod sim;
