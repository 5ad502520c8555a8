//! What the ladder of tests stands on: the deterministic simulators, and real processes.

pub mod pathsim;
pub mod process;
pub mod rogue;
pub mod sim;
