//! What the ladder of tests stands on: the deterministic simulator, and real processes and those who talk to them.

pub mod process;
pub mod relay_client;
pub mod rogue;
pub mod sim;
