//! What the ladder of tests stands on: the deterministic simulator.

pub mod sim;
