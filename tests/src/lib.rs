//! What the ladder of tests stands on: the deterministic simulators, real processes and those who talk to them, and the lab in
//! network namespaces.

pub mod dns;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod models;
pub mod pathsim;
pub mod process;
pub mod relay_client;
pub mod report;
pub mod rogue;
pub mod scale;
pub mod scenario;
pub mod sim;
pub mod workload;
