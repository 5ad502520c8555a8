//! What the ladder of tests stands on: the deterministic simulator, and real processes.

pub mod process;
pub mod rogue;
pub mod sim;
